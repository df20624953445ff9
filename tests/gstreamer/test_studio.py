"""The studio alone: a viewer that stops reading, and its effect on the others."""

import asyncio
import os
import sys
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "examples", "gstreamer"))

from gi.repository import GLib
from studio import Feed, Gst, Pipeline, Studio

PATIENCE = 60
RATE = 30
SOURCE = f"videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate={RATE}/1"


class Screen:
    """A viewer that records the time of each frame, and whether it is a key frame."""

    def __init__(self, studio, codec):
        self.seen = []
        self.pipeline = Pipeline(self.failed)
        self.elements = self.pipeline.add("proxysrc name=in ! identity name=look ! fakesink sync=false async=false")
        self.feed = Feed(studio, codec, self.elements.get_by_name("in"))
        self.pad = self.elements.get_by_name("look").get_static_pad("sink")
        self.pad.add_probe(Gst.PadProbeType.BUFFER, self.look)
        self.pipeline.start()
        self.feed.start()

    def failed(self, error):
        raise AssertionError(error)

    def look(self, pad, info):
        frame = info.get_buffer()
        self.seen.append((frame.pts, not frame.has_flags(Gst.BufferFlags.DELTA_UNIT)))
        return Gst.PadProbeReturn.OK

    def stall(self):
        self.blocked = self.pad.add_probe(
            Gst.PadProbeType.BLOCK | Gst.PadProbeType.BUFFER, lambda *_: Gst.PadProbeReturn.OK
        )

    def go_on(self):
        self.pad.remove_probe(self.blocked)

    async def frames(self, count):
        """Waits for this number of further frames, and returns them."""
        before = len(self.seen)
        async with asyncio.timeout(PATIENCE):
            while len(self.seen) < before + count:
                await asyncio.sleep(0.01)
        return self.seen[before:]


class Stalls(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)
        self.studio = Studio(SOURCE, 200)
        self.screens = []

    async def asyncTearDown(self):
        self.studio.stop()
        for screen in self.screens:
            await screen.pipeline.stop_aside()
            screen.pipeline.end()

    async def until(self, probe):
        async with asyncio.timeout(PATIENCE):
            while not probe():
                await asyncio.sleep(0.01)

    def screen(self, codec="VP8"):
        self.screens.append(Screen(self.studio, codec))
        return self.screens[-1]

    async def test_a_stalled_viewer_delays_no_other(self):
        for codec in self.studio.codecs:
            with self.subTest(codec):
                stalled, other = self.screen(codec), self.screen(codec)
                await stalled.frames(5)
                stalled.stall()
                await other.frames(4 * Feed.FRAMES)

    async def test_a_stalled_viewer_goes_on_with_a_key_frame(self):
        stalled, other = self.screen(), self.screen()
        await stalled.frames(5)
        stalled.stall()
        await other.frames(4 * Feed.FRAMES)
        stalled.go_on()
        await stalled.frames(4 * Feed.FRAMES)
        came = {time for time, _ in stalled.seen}
        first, last = stalled.seen[0][0], stalled.seen[-1][0]
        missing = [time for time, _ in other.seen if first < time < last and time not in came]
        self.assertTrue(missing)
        is_key = next(is_key for time, is_key in stalled.seen if time > missing[0])
        self.assertTrue(is_key, "a frame that can't be decoded")

    async def test_a_new_viewer_begins_with_a_key_frame(self):
        await self.screen().frames(30)
        _, is_key = (await self.screen().frames(1))[0]
        self.assertTrue(is_key)

    async def test_a_camera_that_fails_is_tried_again(self):
        Studio.RETRY, before = 0.1, Studio.RETRY
        self.addCleanup(setattr, Studio, "RETRY", before)
        screen = self.screen()
        await screen.frames(10)
        error = GLib.Error.new_literal(Gst.ResourceError.quark(), "pulled out", Gst.ResourceError.READ)
        self.studio.raw.post_message(Gst.Message.new_error(self.studio.raw, error, ""))
        await self.until(lambda: self.studio.retrying)
        await screen.frames(30)

    async def test_the_camera_is_off_without_viewers(self):
        screens = [self.screen("VP8"), self.screen("VP8"), self.screen("H264")]
        for screen in screens:
            await screen.frames(5)
        for screen in screens[:2]:
            screen.feed.stop()
        self.assertEqual(set(self.studio.running), {"H264"})
        await screens[2].frames(10)
        screens[2].feed.stop()
        self.assertEqual(self.studio.running, {})
        self.assertEqual(self.studio.pipeline.elements.get_state(0).state, Gst.State.NULL)
        await self.screen("VP8").frames(5)


if __name__ == "__main__":
    unittest.main()
