"""A camera box: sends its camera's picture to all viewers, and plays their audio.

It is a master without a screen, made with packages of Debian:

    apt-get install python3-gi python3-websockets gir1.2-gst-plugins-bad-1.0 gstreamer1.0-nice \\
        gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
    MOSS_CONNECTION_SECRET=… /usr/bin/python3 master.py --camera /dev/video0 ws://127.0.0.1:8080/

Without --camera it sends a test picture. ../python/program.py lists the other environment
variables. A viewer is a page with moss's client library:

    const viewer = new Client({ receive: { picture: "video" } });
    viewer.on("media", ({ track }) => (video.srcObject = track && new MediaStream([track])));
    await viewer.share("talk", microphoneTrack); // null switches it off

It gets H.264 or VP8: a codec that it can decode, if possible one that is already being encoded.
studio.py is the camera and its encoders, line.py a viewer's line, and ../python has the protocol.
"""

import argparse
import asyncio
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))

from line import Line
from member import Member
from program import run
from studio import Studio


class Viewer(Member):
    studio = speaker = None  # shared by all viewers; set by main

    def make_line(self, call):
        return Line(call, self.studio, self.speaker, self.master.ice_servers)

    def joined(self):
        self.log(f"joined: {self.hello!r}")

    def message(self, data):
        self.send(data)  # replace it by your application

    def datagram(self, data):
        self.call.line.send_datagram(data)

    def path_changed(self):
        self.log(f"path: {self.path}")

    def left(self, why):
        self.log(f"left: {why}")


def read_arguments():
    parser = argparse.ArgumentParser(description="A camera box for moss.")
    parser.add_argument("address", nargs="?", default="ws://127.0.0.1:8080/", help="address of moss: %(default)s")
    parser.add_argument("--camera", metavar="DEVICE", help="for instance /dev/video0; by default a test picture")
    parser.add_argument("--source", metavar="ELEMENTS", help="another GStreamer source, for instance libcamerasrc")
    parser.add_argument("--size", default="640x480", help="size of the picture: %(default)s")
    parser.add_argument("--rate", type=int, default=30, help="frames per second: %(default)s")
    parser.add_argument("--kbits", type=int, default=1000, help="kilobits per second for each viewer: %(default)s")
    parser.add_argument("--sink", metavar="ELEMENTS", default="autoaudiosink", help="GStreamer sink for the viewers' audio: %(default)s")
    parser.add_argument("--most", type=int, default=30, help="how many viewers at a time: %(default)s")
    return parser.parse_args()


def picture(arguments):
    """The GStreamer elements that make the picture, as gst-launch takes them."""
    width, height = map(int, arguments.size.split("x"))
    shape = f"width={width},height={height},framerate={arguments.rate}/1"
    if arguments.source:
        return f"{arguments.source} ! videoconvert ! videoscale ! videorate ! video/x-raw,{shape}"
    if arguments.camera:  # many cameras have their large sizes only as JPEG
        kinds = f"video/x-raw,{shape};image/jpeg,{shape}"
        return f'v4l2src device="{arguments.camera}" ! capsfilter caps="{kinds}" ! decodebin ! videoconvert'
    return f"videotestsrc is-live=true pattern=ball ! video/x-raw,{shape}"


async def main():
    arguments = read_arguments()
    Viewer.studio = studio = Studio(picture(arguments), arguments.kbits)
    Viewer.speaker = arguments.sink
    print(f"encoders: {', '.join(studio.codecs)}", flush=True)
    try:
        return await run(Viewer, arguments.address, most=arguments.most)
    finally:
        await asyncio.gather(*Line.ending)
        studio.stop()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
