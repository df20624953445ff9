"""A headless WebRTC master: a box without a screen, and here without a camera.

It sends back what clients say, and shows a generated moving picture to whoever wants to
receive `picture`. calls.py is the protocol, moss.py the way to moss; here are aiortc and
what this box is for.

    pip install -r requirements.txt
    MOSS_CONNECTION_SECRET=… python master.py ws://127.0.0.1:8080/

The secret comes from the environment, because a command line is for every user
of a machine to read.
"""

import asyncio
import math
import os
import re
import signal
import sys

from aiortc import (
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.sdp import candidate_from_sdp
from av import VideoFrame

from calls import Calls, CannotRestart, Member
from moss import serve

MOST_MEDIA = 16  # in one offer: each may cost sockets
MOST_UNSENT = 1 << 20  # bytes in a channel that its client doesn't read


class Visitor(Member):
    """What this box does for a client's page."""

    def make_line(self, call):
        return Line(call)

    def joined(self):
        self.print(f"is here: {self.hello!r}")

    def message(self, data):
        self.send(data)

    def datagram(self, data, channel):
        if channel.bufferedAmount < MOST_UNSENT:
            channel.send(data)

    def said_hello(self):
        self.print(f"says now: {self.hello!r}")

    def path_changed(self):
        self.print(f"path: {self.path}")

    def left(self, why):
        self.print(f"left: {why}")

    def problem(self, text):
        self.print(f"problem: {text}")

    def print(self, text):
        # Not the key: whoever knows it has the line.
        print(f"{self.life[:6]} {text}", flush=True)


def wave(low, high, length=512):
    """Up and down once, three times over, so that a row can be cut out at any offset."""
    middle, swing = (high + low) / 2, (high - low) / 2
    turn = (math.cos(2 * math.pi * x / length) for x in range(length))
    return bytes(round(middle + swing * height) for height in turn) * 3


class Picture(VideoStreamTrack):
    """A slowly moving field of colour, drawn straight into the planes of a frame."""

    WIDTH, HEIGHT = 320, 240
    # Brightness, then how blue and how red: greens and blues, nothing shrill.
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


class Line:
    """A peer connection of aiortc, for one call."""

    closing = set()

    def __init__(self, call):
        self.call = call
        self.channel = None
        self.credentials = None
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pc.on("datachannel", self.take_channel)
        self.pc.on("connectionstatechange", self.see_state)

    async def answer(self, description, media):
        sdp = description["sdp"]
        # aiortc doesn't restart ICE: it would keep to the credentials that it has.
        credentials = re.findall(r"^a=ice-(?:ufrag|pwd):(\S+)", sdp, re.MULTILINE)[:2]
        if self.credentials not in (None, credentials):
            raise CannotRestart
        self.credentials = credentials
        if sdp.count("\nm=") > MOST_MEDIA:
            raise ValueError("too many media")
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        wanted = [each["mid"] for each in media if each["name"] == "picture"]
        shown = [each for each in self.pc.getTransceivers() if each.kind == "video" and each.mid in wanted]
        for transceiver in self.pc.getTransceivers():
            # What nobody reads must not be received: it would pile up.
            transceiver.direction = "sendonly" if transceiver in shown else "inactive"
            if transceiver in shown and transceiver.sender.track is None:
                transceiver.sender.replaceTrack(Picture())
        # aiortc doesn't trickle: the answer comes with all its candidates.
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        answer = {"type": "answer", "sdp": self.pc.localDescription.sdp}
        return answer, [{"mid": each.mid, "name": "picture", "on": True} for each in shown]

    async def add_candidate(self, candidate):
        if not candidate or not candidate["candidate"]:
            return  # there are no more: aiortc would then take none that comes late
        found = candidate_from_sdp(candidate["candidate"].removeprefix("candidate:"))
        found.sdpMid, found.sdpMLineIndex = candidate.get("sdpMid"), candidate.get("sdpMLineIndex")
        await self.pc.addIceCandidate(found)

    def send(self, text):
        channel = self.channel
        if channel is None or channel.readyState != "open" or channel.bufferedAmount > MOST_UNSENT:
            return False
        channel.send(text)
        return True

    def close(self):
        task = asyncio.ensure_future(self.pc.close())
        self.closing.add(task)
        task.add_done_callback(self.closing.discard)

    def take_channel(self, channel):
        if channel.label == "moss" and self.channel is None:
            self.channel = channel
            channel.on("message", self.call.text)
            channel.on("close", self.call.closed)
            self.call.opened()
        elif channel.label == "moss-datagrams":
            channel.on("message", lambda data: self.call.member.datagram(data, channel))

    def see_state(self):
        if self.pc.connectionState in ("failed", "closed"):
            self.call.closed()


async def main():
    address = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/"
    secret = os.environ.get("MOSS_CONNECTION_SECRET")
    if not secret:
        sys.exit("MOSS_CONNECTION_SECRET is not set: it is the one that moss was started with")
    serving = asyncio.ensure_future(serve(Calls(Visitor), address, secret))
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, serving.cancel)
    try:
        return await serving
    except asyncio.CancelledError:
        return None  # somebody stopped it
    finally:
        await asyncio.gather(*Line.closing)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
