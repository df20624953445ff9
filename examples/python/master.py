"""A WebRTC master without a screen.

It sends back what clients send, and sends a generated video to clients that receive
`picture`. This file is the application; the others can be used unchanged: moss.py is the
connection to moss, aiortc_line.py is WebRTC, program.py is the process, and the rest is
the protocol.

    pip install -r requirements.txt
    MOSS_CONNECTION_SECRET=… python master.py ws://127.0.0.1:8080/

program.py lists the other environment variables.
"""

import asyncio
import math
import sys

from aiortc import VideoStreamTrack
from av import VideoFrame

from aiortc_line import Line
from member import Member
from program import run


class Visitor(Member):
    """What this master does for one client."""

    def make_line(self, call):
        return Line(call, {"picture": Picture}, self.master.ice_servers)

    def joined(self):
        self.log(f"joined: {self.hello!r}")

    def message(self, data):
        self.send(data)

    def datagram(self, data):
        self.call.line.send_datagram(data)

    def said_hello(self):
        self.log(f"hello: {self.hello!r}")

    def path_changed(self):
        self.log(f"path: {self.path}")

    def left(self, why):
        self.log(f"left: {why}")


def wave(low, high, length=512):
    """One period of a wave, three times, so that a row can start at any offset of the first."""
    middle, swing = (high + low) / 2, (high - low) / 2
    turn = (math.cos(2 * math.pi * x / length) for x in range(length))
    return bytes(round(middle + swing * height) for height in turn) * 3


class Picture(VideoStreamTrack):
    """A slowly moving field of colour, drawn straight into the planes of a frame."""

    WIDTH, HEIGHT = 320, 240
    # Luma, then the two chroma planes (half the size): greens and blues.
    PLANES = (wave(70, 190), 2), (wave(105, 165), 3), (wave(75, 125), 1)

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        frame = VideoFrame(self.WIDTH, self.HEIGHT, "yuv420p")
        for plane, (row, speed) in zip(frame.planes, self.PLANES):
            step = pts * speed // 3000
            offsets = ((y + step) % 512 for y in range(plane.height))
            plane.update(b"".join(row[at : at + plane.line_size] for at in offsets))
        frame.pts, frame.time_base = pts, time_base
        return frame


async def main():
    address = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/"
    try:
        return await run(Visitor, address)
    finally:
        await asyncio.gather(*Line.closing)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
