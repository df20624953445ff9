// A camera box, which is a master without a screen, and the viewer's page: the box's picture, and the viewer's audio.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { mossFor, openTab, SECRET, startBrowser, until } from "./harness.js";
import { callsOf, isShown, lineIsOpen, notice, openWatched, statusIs } from "./people.js";
import { picture } from "./screenshots.js";

let browser;

before(async () => {
  browser = await startBrowser({ args: ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"] });
});

after(() => browser?.close());

/** A box that sends its camera's picture to all, and keeps each viewer's audio in `heard`. */
async function startBox(moss) {
  const box = await openTab(browser, moss.page("favicon.svg"));
  await box.evaluate(async (secret) => {
    const { Master } = await import("/moss-signaling.js");
    const stream = await navigator.mediaDevices.getUserMedia({ video: true });
    window.heard = new Map();
    window.box = new Master({ secret });
    box.share("picture", stream.getVideoTracks()[0]);
    box.on("member", (member) =>
      member.on("media", ({ name, track }) => {
        heard.set(member.key, { name, track });
        if (track) Object.assign(new Audio(), { srcObject: new MediaStream([track]) }).play(); // Only audio that is played has a level.
      }),
    );
  }, SECRET);
  return box;
}

/** The audio level of the viewers at the box, from 0 to 1. */
const loudness = (box) =>
  box.evaluate(async () => {
    let loudest = 0;
    for (const { pc } of window.box.members.values())
      for (const report of (await pc.getStats()).values())
        if (report.type === "inbound-rtp" && report.kind === "audio") loudest = Math.max(loudest, report.audioLevel ?? 0);
    return loudest;
  });

const says = (viewer, pattern) => until(`it says ${pattern}`, async () => pattern.test(await viewer.textContent("#says")));

test("a viewer sees the box's camera, and switches its own audio on and off, in one call", async (t) => {
  const moss = await mossFor(t, browser);
  const viewer = await openWatched(browser, moss.page("camera/"), { viewport: { width: 390, height: 844 } });
  await says(viewer, /not connected yet/);
  await picture(viewer, "camera-waits");
  const box = await startBox(moss);
  await isShown(viewer.locator("#video"));
  await statusIs(viewer, "Direct");
  await until("a round-trip time", async () => /ms$/.test(await viewer.textContent("#rtt")));
  for (let round = 0; round < 2; round++) {
    assert.equal(await viewer.textContent("#talks"), "");
    await viewer.click("#talk");
    await until("the viewer reads it", async () => /hear you/.test(await viewer.textContent("#talks")));
    await until("a voice", async () => (await loudness(box)) > 0.01);
    await picture(viewer, "camera-talks");
    await viewer.click("#talk");
    await until("silence", () => box.evaluate(() => [...heard.values()].every(({ name, track }) => name === "talk" && track === null)));
    assert.equal(await viewer.getAttribute("#talk", "aria-pressed"), "false");
  }
  assert.deepEqual(await callsOf(viewer), [1]);
});

test("the picture goes on during a restart of moss, and comes back after a restart of the box", async (t) => {
  const moss = await mossFor(t, browser);
  const box = await startBox(moss);
  const viewer = await openWatched(browser, moss.page("camera/"));
  await isShown(viewer.locator("#video"));
  await moss.stop();
  await notice(viewer, /Trying again/);
  await isShown(viewer.locator("#video"));
  await moss.again();
  await viewer.locator("#notice").waitFor({ state: "hidden" });
  await isShown(viewer.locator("#video"));
  assert.deepEqual(await callsOf(viewer), [1]);
  await box.context().close();
  await says(viewer, /not connected yet/);
  await startBox(moss);
  await isShown(viewer.locator("#video"));
});

test("the box switches its camera off, and the viewer reads why there is no picture", async (t) => {
  const moss = await mossFor(t, browser);
  const box = await startBox(moss);
  const viewer = await openTab(browser, moss.page("camera/"));
  await isShown(viewer.locator("#video"));
  await box.evaluate(() => window.box.share("picture", null));
  await says(viewer, /sends no picture/);
  assert.equal(await viewer.locator("#video").isVisible(), false);
});

test("a viewer without a microphone is told why, and still sees the picture", async (t) => {
  const moss = await mossFor(t, browser);
  await startBox(moss);
  const strict = await startBrowser({ args: ["--deny-permission-prompts"] });
  t.after(() => strict.close());
  const viewer = await openTab(strict, moss.page("camera/"));
  await lineIsOpen(viewer);
  await viewer.click("#talk");
  await notice(viewer, /^Can't use the microphone: /);
  assert.equal(await viewer.getAttribute("#talk", "aria-pressed"), "false");
  await isShown(viewer.locator("#video"));
});
