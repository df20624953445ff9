"""A line made with aiortc: the peer connection of one call."""

import asyncio
import re

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

from member import CannotRestart

MOST_MEDIA = 16  # in one offer: each may cost sockets
MOST_UNSENT = 1 << 20  # bytes in a channel that its client doesn't read


class Line:
    """The WebRTC part of a `Member`. `sources` maps the name of a medium to a function that makes its track."""

    closing = set()

    def __init__(self, call, sources, ice_servers=()):
        self.call, self.sources = call, sources
        self.channel = self.datagrams = None
        self.credentials = None
        self.sent = {}  # name -> transceiver that sends it
        # aiortc uses only the first STUN and the first TURN URL.
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[RTCIceServer(**each) for each in ice_servers]))
        self.pc.on("datachannel", self.take_channel)
        self.pc.on("connectionstatechange", self.see_state)

    async def answer(self, description, media):
        sdp = description["sdp"]
        if sdp.count("\nm=") > MOST_MEDIA:
            raise ValueError("too many media")
        # aiortc can't restart ICE: it would keep its old credentials.
        credentials = re.findall(r"^a=ice-(?:ufrag|pwd):(\S+)", sdp, re.MULTILINE)[:2]
        if self.credentials not in (None, credentials):
            raise CannotRestart
        self.credentials = credentials
        names = {each["mid"]: each["name"] for each in media}
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        for transceiver in self.pc.getTransceivers():
            self.fill(transceiver, names.get(transceiver.mid))
        # aiortc has no trickle ICE: the answer contains all candidates.
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        answer = {"type": "answer", "sdp": self.pc.localDescription.sdp}
        return answer, [{"mid": each.mid, "name": name, "on": True} for name, each in self.sent.items()]

    def fill(self, transceiver, name):
        """Sends the medium of that name, if this master has one: only once, since it costs an encoder."""
        if name in self.sources and name not in self.sent:
            track = self.sources[name]()
            if track.kind == transceiver.kind:
                transceiver.sender.replaceTrack(track)
                self.sent[name] = transceiver
        # Nothing is received: without a reader it would fill the memory.
        transceiver.direction = "sendonly" if transceiver in self.sent.values() else "inactive"

    async def add_candidate(self, candidate):
        if not candidate or not candidate["candidate"]:
            return  # the end mark: after it, aiortc would refuse candidates that come late
        found = candidate_from_sdp(candidate["candidate"].removeprefix("candidate:"))
        found.sdpMid, found.sdpMLineIndex = candidate.get("sdpMid"), candidate.get("sdpMLineIndex")
        await self.pc.addIceCandidate(found)

    def send(self, text):
        return put(self.channel, text)

    def send_datagram(self, data):
        return put(self.datagrams, data)

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
        elif channel.label == "moss-datagrams" and self.datagrams is None:
            self.datagrams = channel
            channel.on("message", self.call.datagram)
        else:
            channel.close()  # this master uses no other channels

    def see_state(self):
        if self.pc.connectionState in ("failed", "closed"):
            self.call.closed()


def put(channel, data):
    if channel is None or channel.readyState != "open" or channel.bufferedAmount > MOST_UNSENT:
        return False
    channel.send(data)
    return True
