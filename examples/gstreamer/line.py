"""A viewer's line: one webrtcbin, in a pipeline of its own."""

import asyncio
import contextlib
import secrets
import time
from urllib.parse import quote

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import Gst, GstWebRTC

from member import CannotRestart
from offer import parse
from studio import Feed, Pipeline

PAYLOADERS = {
    "VP8": "rtpvp8pay picture-id-mode=15-bit",
    "H264": "rtph264pay config-interval=-1 aggregate-mode=zero-latency",
}
OPUS = "queue ! rtpopusdepay ! opusdec plc=true ! audioconvert ! audioresample ! "
SILENT = 8  # seconds without a packet from a viewer, which sends RTCP reports while it gets a picture
SILENT_WITHOUT_PICTURE = 75  # without one, only SCTP sends something, each 30 s
GATHERING = 30  # seconds to wait for the end of gathering before a line is freed
MOST_UNSENT = 1 << 20  # bytes in a channel that its viewer doesn't read


def settle(future):
    if not future.done():  # it may have timed out, or the line was closed
        future.set_result(None)


def put(channel, text):
    if channel is None or channel.get_property("ready-state") != GstWebRTC.WebRTCDataChannelState.OPEN:
        return False
    if channel.get_property("buffered-amount") > MOST_UNSENT:
        return False
    channel.emit("send-string", text)
    return True


class Line:
    ending = set()  # tasks of lines that are closing

    def __init__(self, call, studio, speaker, ice_servers):
        self.call, self.studio, self.speaker = call, studio, speaker
        self.loop = asyncio.get_running_loop()
        self.sections = []  # of the last offer
        self.names = {}  # mid -> the name of what the viewer sends
        self.pictures = {}  # mid -> Feed
        self.channel = self.datagrams = None
        self.channel_closed = asyncio.Event()
        self.up = self.closing = False
        self.heard = time.monotonic()
        self.early = []  # candidates that were found before the answer went out
        self.answering = False
        self.pipeline = Pipeline(self.failed)
        self.webrtc = Gst.ElementFactory.make("webrtcbin")
        self.webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.webrtc.set_property("latency", 100)
        self.pipeline.elements.add(self.webrtc)
        self.use_servers(ice_servers)
        self.listen()
        self.pipeline.start()
        self.ticking = asyncio.ensure_future(self.tick())

    # webrtcbin emits its signals in its own threads.

    def listen(self):
        self.webrtc.connect("on-ice-candidate", self.later(self.found))
        self.webrtc.connect("notify::connection-state", self.later(lambda _: self.changed()))
        self.webrtc.connect("on-data-channel", self.got_channel)
        self.webrtc.connect("pad-added", self.got_pad)
        self.webrtc.connect("deep-element-added", self.got_element)

    def later(self, handler):
        """A handler for a signal, which calls `handler` in the asyncio thread."""
        return lambda sender, *arguments: self.loop.call_soon_threadsafe(handler, *arguments)

    def got_element(self, webrtc, bin, element):
        """webrtcbin of GStreamer 1.22 stays "connected" for ever, so incoming packets are watched."""
        if type(element).__name__ == "GstNiceSrc":
            kinds = Gst.PadProbeType.BUFFER | Gst.PadProbeType.BUFFER_LIST
            element.get_static_pad("src").add_probe(kinds, self.got_packet)

    def got_packet(self, pad, info):
        self.heard = time.monotonic()
        return Gst.PadProbeReturn.OK

    def got_channel(self, webrtc, channel):
        label = channel.get_property("label")
        if label == "moss" and self.channel is None:
            self.channel = channel
            channel.connect("on-message-string", self.later(self.call.text))
            channel.connect("on-close", self.later(self.lost_channel))
            self.loop.call_soon_threadsafe(self.look)
        elif label == "moss-datagrams" and self.datagrams is None:
            self.datagrams = channel
            channel.connect("on-message-string", self.later(self.call.datagram))

    def lost_channel(self):
        self.channel_closed.set()
        self.call.closed()

    def got_pad(self, webrtc, pad):
        """Plays the viewer's audio `talk`, and drops all other media."""
        if pad.direction != Gst.PadDirection.SRC:
            return
        transceiver = pad.get_property("transceiver")
        section = self.sections[transceiver.get_property("mlineindex")]
        talk = section.kind == "audio" and self.names.get(section.mid) == "talk"
        player = self.pipeline.add(OPUS + self.speaker if talk else "fakesink sync=false async=false")
        player.sync_state_with_parent()
        pad.link(player.get_static_pad("sink"))

    # Offers.

    async def answer(self, description, media):
        message, sections = parse(description["sdp"])
        if self.sections and sections[0].first("ice-ufrag") != self.sections[0].first("ice-ufrag"):
            # webrtcbin would keep its own credentials and go on sending to the old address.
            raise CannotRestart
        if len(sections) < len(self.sections):
            raise ValueError("sections of an earlier offer are missing")
        known = {section.mid for section in self.sections}
        self.sections = sections
        self.names = {item["mid"]: item["name"] for item in media}
        self.answering = True
        offer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.OFFER, message)
        await self.ask("set-remote-description", offer)
        for index, section in enumerate(sections):
            if section.mid not in known and section.kind == "video" and self.names.get(section.mid) == "picture":
                self.add_picture(index, section)
        created = await self.ask("create-answer", None)
        answer = created.get_value("answer")  # valid only as long as `created`
        await self.ask("set-local-description", answer)
        self.answering = False
        self.loop.call_soon(self.tell_early)
        self.look()
        sent = [{"mid": mid, "name": "picture", "on": True} for mid in self.pictures]
        return {"type": "answer", "sdp": answer.sdp.as_text()}, sent

    async def ask(self, signal, argument):
        """Emits a signal that takes a promise; returns the reply."""
        future = self.loop.create_future()
        promise = Gst.Promise.new_with_change_func(lambda *_: self.loop.call_soon_threadsafe(settle, future))
        self.webrtc.emit(signal, argument, promise)
        await asyncio.wait_for(future, 10)
        reply = promise.get_reply()
        if reply and reply.has_field("error"):
            raise ValueError(f"{signal} failed")
        return reply

    def add_picture(self, index, section):
        if self.pictures or not section.port:
            return  # one picture for each line
        offered = section.codecs()
        codec = self.studio.prefer(offered)
        if codec is None:
            self.call.member.problem("the viewer can decode neither VP8 nor H.264 as this machine encodes them")
            return
        ssrc = secrets.randbits(32)
        # The answer must be the same before and after the first frame: otherwise the viewer would
        # start with a new track.
        payload, caps = offered[codec]
        caps += f",ssrc=(uint){ssrc}"
        source = self.pipeline.add(f"proxysrc name=in ! {PAYLOADERS[codec]} pt={payload} ssrc={ssrc}")
        pad = self.webrtc.request_pad_simple(f"sink_{index}")
        transceiver = pad.get_property("transceiver")
        transceiver.set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
        transceiver.set_property("codec-preferences", Gst.Caps.from_string(caps))
        source.get_static_pad("src").link(pad)
        source.sync_state_with_parent()
        self.pictures[section.mid] = Feed(self.studio, codec, source.get_by_name("in"))

    # Candidates.

    async def add_candidate(self, candidate):
        if candidate and candidate.get("candidate"):
            self.webrtc.emit("add-ice-candidate", int(candidate.get("sdpMLineIndex") or 0), candidate["candidate"])

    def found(self, index, text):
        if self.answering:
            self.early.append((index, text))
        else:
            self.call.candidate({"candidate": text, "sdpMLineIndex": index, "sdpMid": self.sections[index].mid})

    def tell_early(self):
        early, self.early = self.early, []
        for index, text in early:
            self.found(index, text)

    def use_servers(self, servers):
        for server in servers:
            urls = server["urls"]
            for url in [urls] if isinstance(urls, str) else urls:
                kind, _, place = url.partition(":")
                if kind == "stun":
                    self.webrtc.set_property("stun-server", f"stun://{place}")
                else:
                    user, password = (quote(server[key], safe="") for key in ("username", "credential"))
                    self.webrtc.emit("add-turn-server", f"{kind}://{user}:{password}@{place}")

    # Up and down.

    def changed(self):
        if self.closing:
            return
        state = self.webrtc.get_property("connection-state").value_nick
        if state in ("failed", "closed"):
            self.call.closed()
        else:
            self.look()

    async def tick(self):
        while True:
            await asyncio.sleep(1)
            self.look()

    def look(self):
        if self.closing:
            return
        connected = self.webrtc.get_property("connection-state").value_nick == "connected"
        patience = SILENT if self.pictures else SILENT_WITHOUT_PICTURE
        up = connected and time.monotonic() - self.heard < patience
        for picture in self.pictures.values():
            picture.start() if up else picture.stop()
        up = up and self.channel is not None
        if up != self.up:
            self.up = up
            self.call.opened() if up else self.call.down()

    def send(self, text):
        return put(self.channel, text)

    def send_datagram(self, text):
        return put(self.datagrams, text)

    def failed(self, error):
        self.call.member.problem(f"the line ended: {error}")
        self.call.closed()

    def close(self):
        self.closing = True
        self.ticking.cancel()
        for picture in self.pictures.values():
            picture.stop()
        task = asyncio.ensure_future(self.hang_up())
        self.ending.add(task)
        task.add_done_callback(self.ending.discard)

    async def hang_up(self):
        """Closes the channel first: webrtcbin doesn't tell the viewer that it ends, the channel does."""
        if self.channel:
            self.channel.emit("close")
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.channel_closed.wait(), 1)
        # libnice 0.1.21 reports candidates even to a webrtcbin that is already freed.
        for _ in range(GATHERING):
            if self.webrtc.get_property("ice-gathering-state").value_nick != "gathering":
                break
            await asyncio.sleep(1)
        await self.pipeline.stop_aside()
        await asyncio.sleep(1)
        self.pipeline.end()
        self.webrtc = self.channel = self.datagrams = None
        self.pictures.clear()
