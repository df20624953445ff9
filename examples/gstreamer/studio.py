"""The camera, and one encoder for each codec that is in use.

    camera ─ tee ┬─ queue ─ VP8 encoder ─── tee ┬─ proxy ─▶ queue, a viewer's line
                 └─ queue ─ H.264 encoder ─ tee ┼─ proxy ─▶ queue, a viewer's line
                                                └─ proxy ─▶ queue, a viewer's line

Each line is a separate pipeline, so an error there does not stop the camera. The queues drop the
oldest frames when they are full, so a viewer that stalls delays no other. Without viewers the
camera is off.
"""

import asyncio

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import Gst, GstVideo

Gst.init(None)

# All pipelines share one clock: otherwise frames of one would be late in another.
CLOCK = Gst.SystemClock.obtain()
BEGAN = CLOCK.get_time()

# A key frame is large, so there is at most one in this time, even if many viewers ask for one.
KEYS = f"min-force-key-unit-interval={Gst.SECOND}"
VP8 = f"vp8enc {KEYS} deadline=1 cpu-used=8 threads=2 end-usage=cbr target-bitrate={{bits}} keyframe-max-dist=100000"
BASELINE = "video/x-h264,profile=constrained-baseline,stream-format=byte-stream,alignment=au"
# The first one that the machine has is used: a Raspberry Pi's hardware, plugins-ugly, plugins-bad.
H264 = {
    "v4l2h264enc": f'v4l2h264enc {KEYS} extra-controls="c,video_bitrate={{bits}},h264_i_frame_period=100000"'
    f" ! {BASELINE},level=(string)4",
    "x264enc": f"x264enc {KEYS} tune=zerolatency speed-preset=ultrafast bitrate={{kbits}} key-int-max=100000"
    f" ! {BASELINE}",
    "openh264enc": f"openh264enc {KEYS} complexity=low rate-control=bitrate bitrate={{bits}} gop-size=100000"
    f" ! {BASELINE}",
}


class Pipeline:
    """A pipeline on the common clock. `failed(error)` gets its errors, in the asyncio thread."""

    def __init__(self, failed):
        self.elements = Gst.Pipeline()
        self.elements.use_clock(CLOCK)
        self.elements.set_start_time(Gst.CLOCK_TIME_NONE)
        self.elements.set_base_time(BEGAN)
        self.failed = failed
        self.loop = asyncio.get_running_loop()
        self.bus = self.elements.get_bus()
        self.file = self.bus.get_pollfd().fd
        self.loop.add_reader(self.file, self.read)

    def read(self):
        while message := self.bus.pop():
            if message.type == Gst.MessageType.ERROR:
                error, _ = message.parse_error()
                self.failed(error.message)

    def add(self, description):
        """Adds elements, described as for gst-launch. Unlinked pads become pads of the result."""
        elements = Gst.parse_bin_from_description(description, True)
        self.elements.add(elements)
        return elements

    def start(self):
        self.elements.set_state(Gst.State.PLAYING)

    def stop(self):
        self.elements.set_state(Gst.State.NULL)

    async def stop_aside(self):
        """Stops in another thread, as it takes a moment."""
        await self.loop.run_in_executor(None, self.stop)

    def end(self):
        """Drops the references: they are cycles through GStreamer, which Python's collector can't see."""
        self.loop.remove_reader(self.file)
        self.elements = self.bus = self.failed = None


def encoders(kbits):
    """The encoders of this machine, by codec."""
    found = {"VP8": VP8}
    for name, description in H264.items():
        if Gst.ElementFactory.find(name):
            found["H264"] = description
            break
    return {codec: text.format(bits=kbits * 1000, kbits=kbits) for codec, text in found.items()}


class Branch:
    """Elements behind a tee, which can be added and removed while it runs."""

    def __init__(self, tee, description):
        self.tee = tee
        self.elements = Gst.parse_bin_from_description(description, True)
        tee.get_parent().add(self.elements)
        self.elements.sync_state_with_parent()
        self.pad = tee.request_pad_simple("src_%u")
        self.pad.link(self.elements.get_static_pad("sink"))

    def __getitem__(self, name):
        return self.elements.get_by_name(name)

    def remove(self):
        loop = asyncio.get_running_loop()

        def between_frames(pad, info):
            pad.unlink(pad.get_peer())
            loop.call_soon_threadsafe(self.unlinked)
            return Gst.PadProbeReturn.REMOVE

        self.pad.add_probe(Gst.PadProbeType.IDLE, between_frames)

    def unlinked(self):
        self.elements.set_state(Gst.State.NULL)
        self.elements.get_parent().remove(self.elements)
        self.tee.release_request_pad(self.pad)


class Encoder(Branch):
    def __init__(self, raw, description):
        super().__init__(
            raw,
            "queue leaky=downstream max-size-buffers=2 max-size-bytes=0 max-size-time=0"
            f" ! videoconvert ! {description} ! tee name=encoded allow-not-linked=true",
        )
        self.viewers = set()


class Feed:
    """Brings the studio's frames into a viewer's pipeline, through a proxysrc there."""

    FRAMES = 15  # at most in a viewer's queue

    def __init__(self, studio, codec, proxysrc):
        self.studio, self.codec, self.proxysrc = studio, codec, proxysrc
        self.branch = None
        self.is_broken = True  # frames are missing, and no key frame has come since
        end = proxysrc.get_static_pad("src").get_target()
        self.queue = end.get_parent_element()  # proxysrc's own
        limits = {"leaky": 2, "max-size-buffers": self.FRAMES, "max-size-bytes": 0, "max-size-time": 0}
        for name, value in limits.items():
            self.queue.set_property(name, value)
        end.add_probe(Gst.PadProbeType.BUFFER, self.let_pass)

    def start(self):
        if self.branch is None:
            self.is_broken = True
            self.branch = self.studio.watch(self.codec)
            self.proxysrc.set_property("proxysink", self.branch["out"])

    def stop(self):
        if self.branch is not None:
            self.studio.leave(self.codec, self.branch)
            self.branch = None

    def let_pass(self, pad, info):
        """Drops frames up to the next key frame if frames are missing: at the beginning, and after
        the queue was full."""
        frame = info.get_buffer()
        if not frame.has_flags(Gst.BufferFlags.DELTA_UNIT):
            self.is_broken = False
        elif frame.has_flags(Gst.BufferFlags.DISCONT):
            self.is_broken = True
        if not self.is_broken:
            return Gst.PadProbeReturn.OK
        ask = GstVideo.video_event_new_upstream_force_key_unit(Gst.CLOCK_TIME_NONE, True, 0)
        self.queue.get_static_pad("sink").push_event(ask)
        return Gst.PadProbeReturn.DROP


class Studio:
    RETRY = 3  # seconds before a camera that failed is started again

    def __init__(self, source, kbits):
        self.codecs = encoders(kbits)
        self.running = {}  # codec -> Encoder
        self.retrying = None
        self.pipeline = Pipeline(self.failed)
        self.raw = self.pipeline.add(f"{source} ! tee name=raw allow-not-linked=true").get_by_name("raw")

    def prefer(self, codecs):
        """The codec for a viewer, from its list, best first: one that is already in use costs nothing."""
        known = [codec for codec in codecs if codec in self.codecs]
        return next((codec for codec in known if codec in self.running), known[0] if known else None)

    def watch(self, codec):
        if codec not in self.running:
            print(f"{codec} encoder starts", flush=True)
            self.running[codec] = Encoder(self.raw, self.codecs[codec])
        encoder = self.running[codec]
        viewer = Branch(encoder["encoded"], "proxysink name=out")
        encoder.viewers.add(viewer)
        self.start()
        return viewer

    def leave(self, codec, viewer):
        encoder = self.running[codec]
        encoder.viewers.remove(viewer)
        if encoder.viewers:
            return viewer.remove()
        encoder.remove()
        del self.running[codec]
        print(f"{codec} encoder stops", flush=True)
        if not self.running:
            self.stop()

    def start(self):
        if not self.retrying:
            self.pipeline.start()

    def stop(self):
        if self.retrying:
            self.retrying.cancel()
            self.retrying = None
        self.pipeline.stop()

    def failed(self, error):
        if self.retrying or not self.running:
            return
        print(f"camera: {error}", flush=True)
        self.stop()
        self.retrying = asyncio.get_running_loop().call_later(self.RETRY, self.again)

    def again(self):
        self.retrying = None
        self.start()
