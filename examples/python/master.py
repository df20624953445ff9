"""A headless WebRTC master: a box without a screen, and here without a camera.

It answers every client's call, sends what a data channel says back on it, and
shows a generated moving picture to whoever asks for video.

    pip install -r requirements.txt
    MOSS_CONNECTION_SECRET=… python master.py ws://127.0.0.1:8080/

The secret comes from the environment, because a command line is for every user
of a machine to read.
"""

import asyncio
import json
import math
import os
import sys

from aiortc import (
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.sdp import candidate_from_sdp
from av import VideoFrame
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

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


class Stop(Exception):
    """There is no sense in going on, for this reason."""


class Master:
    """One connection to moss, and the peer connections that were made through it."""

    def __init__(self, websocket):
        self.websocket = websocket
        self.calls = {}  # client id -> (call, peer connection)

    async def send(self, type, payload, id=None):
        packet = {"type": type, "payload": payload}
        if id is not None:
            packet["id"] = id
        await self.websocket.send(json.dumps(packet))

    async def run(self, secret):
        # Every client gets this first: no WebRTC offer (one serves one peer
        # connection), but what all of them need to call.
        invitation = {"session": os.urandom(8).hex(), "iceServers": []}
        await self.send("set-master", {"secret": secret, "sdp": invitation})
        async for message in self.websocket:
            packet = json.loads(message)
            type, payload, id = packet["type"], packet["payload"], packet.get("id")
            if id is None:  # moss itself speaks
                self.hear_moss(type, payload)
            else:
                try:
                    await self.hear_client(type, payload, id)
                except ConnectionClosed:
                    raise
                except Exception as error:  # aiortc may raise anything at a stranger's SDP
                    print(f"{id} sent nonsense: {error!r}", flush=True)

    def hear_moss(self, type, payload):
        if type == "master-confirmation":
            print("master", flush=True)
        elif type == "moss-error" and payload["code"] == "replaced":
            raise Stop("another master took over")
        elif type == "moss-error" and payload["code"] == "wrong-secret":
            raise Stop("the secret is wrong")

    async def hear_client(self, type, payload, id):
        if type == "offer":
            await self.answer(id, payload["call"], payload["description"])
        elif type == "candidate":
            call, pc = self.calls.get(id, (None, None))
            line = payload["candidate"]["candidate"]
            if call == payload["call"] and line:
                candidate = candidate_from_sdp(line.removeprefix("candidate:"))
                candidate.sdpMid = payload["candidate"]["sdpMid"]
                candidate.sdpMLineIndex = payload["candidate"]["sdpMLineIndex"]
                await pc.addIceCandidate(candidate)

    async def answer(self, id, call, description):
        """A peer connection per client, known by the id that moss puts on its packets."""
        if id in self.calls:
            await self.calls.pop(id)[1].close()
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.calls[id] = call, pc

        @pc.on("datachannel")
        def on_datachannel(channel):
            print(f"{id} opened {channel.label}", flush=True)
            channel.on("message", channel.send)

        @pc.on("connectionstatechange")
        async def on_connectionstatechange():
            if pc.connectionState in ("failed", "closed"):
                print(f"{id} {pc.connectionState}", flush=True)
                if self.calls.get(id) == (call, pc):
                    del self.calls[id]
                await pc.close()

        await pc.setRemoteDescription(RTCSessionDescription(**description))
        for transceiver in pc.getTransceivers():
            if transceiver.kind == "video":
                transceiver.direction = "sendonly"
                transceiver.sender.replaceTrack(Picture())
        # aiortc does not trickle: the answer comes with all its candidates.
        await pc.setLocalDescription(await pc.createAnswer())
        answer = pc.localDescription
        await self.send(
            "answer",
            {"call": call, "description": {"type": answer.type, "sdp": answer.sdp}},
            id,
        )

    async def close(self):
        await asyncio.gather(*(pc.close() for _, pc in self.calls.values()))


async def main():
    address = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/"
    secret = os.environ.get("MOSS_CONNECTION_SECRET")
    if not secret:
        sys.exit("MOSS_CONNECTION_SECRET is not set: it is the one that moss was started with")
    # Connects again, ever more slowly, for as long as moss is away.
    async for websocket in connect(address):
        master = Master(websocket)
        try:
            await master.run(secret)
        except ConnectionClosed:
            print("connection lost", flush=True)
        except Stop as stop:
            return str(stop)
        finally:
            await master.close()


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        pass
