// The camera box of examples/gstreamer, with a browser as its viewer.

import assert from "node:assert/strict";
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openTab, PAGES, ROOT, run, SECRET, startBrowser, startMoss, until } from "../browser/harness.js";

const ADDRESS = "192.168.80.1"; // In the namespace that `run` makes.
const MEDIA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];

let browser;
let folder;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "moss-camera-"));
  await copyFile(join(PAGES, "moss-signaling.js"), join(folder, "moss-signaling.js"));
  await writeFile(join(folder, "index.html"), "<!doctype html><title>Viewer</title><link rel=icon href=data:,><video muted autoplay></video>");
  browser = await startBrowser({ args: MEDIA });
});

after(async () => {
  await browser?.close();
  if (folder) await rm(folder, { recursive: true });
});

/** Starts a moss and the box. */
async function startBox(t, { options = [], servers = [] } = {}) {
  const moss = await startMoss({ MOSS_PAGES_DIRECTORY: folder });
  const box = run(
    "/usr/bin/python3",
    ["-B", join(ROOT, "examples/gstreamer/master.py"), "--size", "160x120", "--rate", "15", "--kbits", "200", ...options, moss.address],
    { MOSS_CONNECTION_SECRET: SECRET, ICE_SERVERS: JSON.stringify(servers) },
  );
  t.after(async () => {
    await Promise.all(browser.contexts().map((context) => context.close()));
    await box.stop();
    await moss.stop();
    assert.doesNotMatch(box.printed, /Traceback|CRITICAL|never (awaited|retrieved)/);
  });
  await box.until(/^master$/m);
  return { moss, box };
}

/** A tab with the library's client, which can be limited to one codec, or to relays. */
async function openViewer(moss, { codec, policy = "all", within = browser } = {}) {
  const tab = await openTab(within, moss.page(""));
  await tab.evaluate(async ({ codec, policy }) => {
    const { Client } = await import("/moss-signaling.js");
    window.calls = [];
    window.tracks = [];
    class Connection extends RTCPeerConnection {
      constructor(configuration) {
        super({ ...configuration, iceTransportPolicy: policy });
        calls.push(this);
        this.addEventListener("track", ({ track }) => tracks.push(track));
      }

      addTransceiver(kind, init) {
        const transceiver = super.addTransceiver(kind, init);
        if (codec && kind === "video")
          transceiver.setCodecPreferences(
            RTCRtpReceiver.getCapabilities("video").codecs.filter(({ mimeType }) => mimeType === `video/${codec}`),
          );
        return transceiver;
      }
    }
    window.viewer = new Client({ receive: { picture: "video" }, RTCPeerConnection: Connection });
    window.said = [];
    viewer.on("message", (message) => said.push(message));
    viewer.on("media", ({ name, track }) => {
      if (name === "picture") document.querySelector("video").srcObject = track && new MediaStream([track]);
    });
  }, { codec, policy });
  return tab;
}

/** What the tab has decoded in its present call. */
const decoded = (tab) =>
  tab.evaluate(async () => {
    const reports = [...(await calls.at(-1)?.getStats())?.values() ?? []];
    const pictures = reports.filter(({ type, kind }) => type === "inbound-rtp" && kind === "video");
    const sum = (name) => pictures.reduce((sum, picture) => sum + (picture[name] ?? 0), 0);
    const codec = reports.find(({ id }) => id === pictures[0]?.codecId)?.mimeType;
    return { frames: sum("framesDecoded"), keys: sum("keyFramesDecoded"), codec };
  });

/** Waits for this number of further frames, and returns what was decoded until then. */
async function watch(tab, frames) {
  const before = await decoded(tab);
  let now;
  await until(`${frames} more frames`, async () => (now = await decoded(tab)).frames >= before.frames + frames);
  return now;
}

/** The viewer's present picture, as a string. */
const look = (tab) =>
  tab.evaluate(() => {
    const video = document.querySelector("video");
    const canvas = Object.assign(document.createElement("canvas"), { width: 160, height: 120 });
    canvas.getContext("2d").drawImage(video, 0, 0);
    return canvas.toDataURL();
  });

/** Sends a signal to the browser with this argument, and to its child processes. */
async function signal(mark, name) {
  const processes = new Map(); // By id, the parent.
  let found;
  for (const id of (await readdir("/proc")).filter(Number)) {
    const [words, stat] = await Promise.all(["cmdline", "stat"].map((file) => readFile(`/proc/${id}/${file}`, "utf8").catch(() => "")));
    processes.set(Number(id), Number(stat.slice(stat.lastIndexOf(")")).split(" ")[2]));
    if (words.split("\0").includes(mark)) found = Number(id);
  }
  assert.ok(found, "the browser runs");
  const isOf = (id) => id === found || (processes.has(id) && isOf(processes.get(id)));
  for (const id of processes.keys()) if (isOf(id)) process.kill(id, name);
}

const count = (box, text) => box.printed.split(text).length - 1;

test("each codec in use has one encoder for all viewers, and none without viewers", async (t) => {
  const { moss, box } = await startBox(t);
  const viewers = await Promise.all(["VP8", "VP8", "VP8", "H264", "H264"].map((codec) => openViewer(moss, { codec })));
  const seen = await Promise.all(viewers.map((viewer) => watch(viewer, 15)));
  assert.deepEqual(seen.map(({ codec }) => codec), ["video/VP8", "video/VP8", "video/VP8", "video/H264", "video/H264"]);
  for (const viewer of viewers) {
    const before = await look(viewer);
    await until("the picture moves", async () => (await look(viewer)) !== before);
  }
  // A viewer that supports both gets the codec that is in use.
  await watch(await openViewer(moss), 5);
  for (const codec of ["VP8", "H264"]) assert.equal(count(box, `${codec} encoder starts`), 1);

  await Promise.all(viewers.slice(0, 3).map((viewer) => viewer.evaluate(() => viewer.stop())));
  await watch(viewers[3], 15);
  await Promise.all(browser.contexts().map((context) => context.close()));
  for (const codec of ["VP8", "H264"]) await box.until(new RegExp(`^${codec} encoder stops`, "m"));
  await watch(await openViewer(moss), 15); // And once more.
});

test("a viewer that supports neither codec has a line without a picture", async (t) => {
  const { moss, box } = await startBox(t);
  const viewer = await openViewer(moss, { codec: "AV1" });
  await box.until(/problem: .*neither VP8 nor H\.264/);
  await viewer.evaluate(() => viewer.send("can you hear me?"));
  await until("it is heard", () => viewer.evaluate(() => said.length && viewer.path === "direct"));
});

test("a viewer that asks for a key frame gets one, but not one for each request", async (t) => {
  const { moss } = await startBox(t);
  const viewer = await openViewer(moss, { codec: "VP8" });
  const before = await watch(viewer, 30);
  await viewer.evaluate(() => {
    // A page has no other way to ask.
    const source = "onrtctransform = ({ transformer: t }) => { t.readable.pipeTo(t.writable); onmessage = () => t.sendKeyFrameRequest(); }";
    window.asker = new Worker(URL.createObjectURL(new Blob([source])));
    calls.at(-1).getReceivers()[0].transform = new RTCRtpScriptTransform(asker);
  });
  const ask = () => viewer.evaluate(() => asker.postMessage("now"));
  await until("a key frame", async () => {
    await ask();
    return (await decoded(viewer)).keys > before.keys;
  });
  const start = await decoded(viewer);
  let now = start;
  while (now.frames < start.frames + 60) {
    await ask();
    now = await decoded(viewer);
  }
  const [keys, frames] = [now.keys - start.keys, now.frames - start.frames];
  assert.ok(keys * 3 < frames, `${keys} key frames of ${frames}`);
});

test("a frozen viewer delays no other, and sees the picture again later", async (t) => {
  const { moss, box } = await startBox(t);
  const mark = `--frozen-by=${process.pid}`;
  const other = await startBrowser({ args: [...MEDIA, mark] });
  const thaw = () => signal(mark, "SIGCONT");
  t.after(async () => {
    await thaw();
    await other.close();
  });
  const frozen = await openViewer(moss, { within: other });
  const awake = await openViewer(moss);
  await watch(frozen, 15);
  await watch(awake, 15);
  await signal(mark, "SIGSTOP");
  await box.until(/path: lost/);
  await watch(awake, 30);
  await thaw();
  await watch(frozen, 15);
  await watch(awake, 15);
  assert.equal(await awake.evaluate(() => calls.length), 1);
  assert.equal(count(box, "encoder starts"), 1);
});

test("the picture goes on in the same call while moss restarts", async (t) => {
  const { moss, box } = await startBox(t);
  const viewer = await openViewer(moss);
  await watch(viewer, 15);
  await moss.kill();
  await until("the viewer knows it", () => viewer.evaluate(() => viewer.state !== "ready"));
  await watch(viewer, 30);
  await viewer.evaluate(() => viewer.send("while it is away"));
  await until("it comes back", () => viewer.evaluate(() => said.length === 1));
  await moss.again();
  await box.until(/^master$[^]*^master$/m);
  await until("the viewer is back", () => viewer.evaluate(() => viewer.state === "ready"));
  await watch(viewer, 30);
  assert.equal(await viewer.evaluate(() => calls.length), 1);
  assert.doesNotMatch(box.printed, /left:/);
});

for (const codec of ["VP8", "H264"])
  test(`the audio of a viewer of ${codec} is played, and switched off and on in the same call`, async (t) => {
    const heard = join(folder, "heard.raw");
    const { moss } = await startBox(t, {
      options: ["--sink", `audio/x-raw,format=S16LE ! filesink buffer-mode=unbuffered location=${heard}`],
    });
    const viewer = await openViewer(moss, { codec });
    await watch(viewer, 5);
    /** How many samples of a loud tone have been played. */
    const loud = async () => {
      const bytes = await readFile(heard).catch(() => Buffer.alloc(0));
      return new Int16Array(bytes.buffer, bytes.byteOffset, bytes.length >> 1).filter((sample) => Math.abs(sample) > 1000).length;
    };
    const talk = (on) =>
      viewer.evaluate(async (on) => {
        const stream = on && (await navigator.mediaDevices.getUserMedia({ audio: true }));
        await viewer.share("talk", on ? stream.getAudioTracks()[0] : null);
      }, on);
    for (let round = 0; round < 2; round++) {
      const before = await loud();
      await talk(true);
      await until("the box plays it", async () => (await loud()) > before + 1000);
      await talk(false);
    }
    await watch(viewer, 15);
    assert.equal(await viewer.evaluate(() => tracks.length), 1); // The picture went on all the time.
    assert.equal(await viewer.evaluate(() => calls.length), 1);
  });

test("both sides use the TURN server that the box is given", async (t) => {
  const port = 3478;
  const log = "--log-file=stdout";
  const turn = run("turnserver", ["-n", log, "--pidfile=", `--userdb=${join(folder, "turndb")}`, "-L", ADDRESS, "-p", `${port}`, "-a", "-u", "box:a/b+c=", "-r", "moss", "--no-cli", "--no-tls", "--no-dtls"]);
  t.after(turn.stop);
  await turn.until(/turn server id=0 created/);
  const { moss } = await startBox(t, { servers: [{ urls: `turn:${ADDRESS}:${port}`, username: "box", credential: "a/b+c=" }] });
  const viewer = await openViewer(moss, { policy: "relay" });
  await watch(viewer, 15);
  assert.equal(await viewer.evaluate(() => viewer.path), "relayed");
  await until("the box offers a relay of its own", () =>
    viewer.evaluate(async () =>
      [...(await calls.at(-1).getStats()).values()].some(({ type, candidateType }) => type === "remote-candidate" && candidateType === "relay"),
    ),
  );
});
