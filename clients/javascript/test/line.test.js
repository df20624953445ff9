import assert from "node:assert/strict";
import { test } from "node:test";
import { Line } from "../src/line.js";
import { stage } from "./simulation/stage.js";

/**
 * Both lines of one call, the polite one and the impolite one. Their packets go through `pass`, which gets
 * each packet and a function that delivers it; by default it calls that.
 */
async function lines(t, { open = true } = {}) {
  const on = stage(t);
  const both = { ...on, sent: [], pass: (_packet, deliver) => deliver() };
  const make = (name, polite) => {
    const page = on.world.page(name);
    const side = { page, media: [], problems: [], changes: 0, do: (code) => on.world.do(page, () => code(side.line)) };
    return side;
  };
  const [a, b] = [make("a", true), make("b", false)];
  const start = async (side, other, polite) => {
    const signal = (type, payload) => {
      const packet = { from: side.page.name, type, payload: structuredClone(JSON.parse(JSON.stringify(payload))) };
      both.sent.push(packet);
      both.pass(packet, () => on.world.after(5, other.page, () => other.line.receive(type, packet.payload)));
      return true;
    };
    await on.world.do(side.page, () => {
      side.line = new Line("call", new on.classes.RTCPeerConnection(), {
        signal,
        heard: (text) => {
          const { type, payload } = JSON.parse(text);
          side.line.receive(type, payload);
        },
        changed: () => (side.changes += 1),
        offered: async () => {},
        media: (media) => (side.media = media.map(({ name, track }) => `${name} ${track.kind}`)),
        channel: (channel) => (side.channel = channel),
        datagram: (data) => (side.datagram = data),
        problem: (code) => side.problems.push(code),
      }, { polite });
    });
  };
  await start(a, b, true);
  await start(b, a, false);
  if (open) {
    await a.do((line) => line.open());
    await on.run(3);
    assert.deepEqual([a.line.up, b.line.up], [true, true]);
  }
  t.after(() => assert.deepEqual([a.problems, b.problems], both.problems ?? [[], []]));
  return Object.assign(both, { a, b, share: (side, name, kind) => side.do((line) => line.share(name, kind ? on.track(side, kind) : null)) });
}

test("both sides come up, and one notices when the other closes", async (t) => {
  const { a, b, run } = await lines(t);
  await a.do((line) => line.close());
  await run(1);
  assert.deepEqual([a.line.up, b.line.up, b.line.ended], [false, false, true]);
});

test("when both offer at once, the impolite side's offer is answered first, then the other's", async (t) => {
  const { a, b, run, share, sent } = await lines(t);
  sent.length = 0;
  await share(a, "camera", "video");
  await share(b, "picture", "video");
  await run(2);
  assert.deepEqual([a.media, b.media], [["picture video"], ["camera video"]]);
  const first = sent.filter(({ type }) => type === "answer").map(({ from }) => from);
  assert.deepEqual(first, ["a", "b"]);
});

test("an offer that was lost is sent again after 5 s, then after 10 and 20", async (t) => {
  const on = await lines(t);
  const { a, run, share } = on;
  const when = [];
  on.pass = ({ type }, deliver) => (type === "offer" ? when.push(Math.round(on.world.now / 1000)) : deliver());
  await share(a, "camera", "video");
  for (let second = 0; second < 40; second++) {
    await run(1);
    await a.do((line) => line.tick(1000));
  }
  assert.deepEqual(when.map((at) => at - when[0]), [0, 5, 15, 35]);
});

test("without an open offer nothing is sent again", async (t) => {
  const { a, b, run, sent } = await lines(t);
  sent.length = 0;
  for (const side of [a, b]) await side.do((line) => line.repeat());
  await run(1);
  assert.deepEqual(sent, []);
});

test("a lost answer is sent again unchanged", async (t) => {
  const on = await lines(t);
  const { a, b, run, share, sent } = on;
  sent.length = 0;
  let lost = 0;
  on.pass = ({ type }, deliver) => (type === "answer" && lost++ === 0 ? undefined : deliver());
  await share(a, "camera", "video");
  await run(1);
  await a.do((line) => line.repeat());
  await run(1);
  const answers = sent.filter(({ type }) => type === "answer").map(({ payload }) => payload.description.sdp);
  assert.equal(answers.length, 2);
  assert.equal(answers[0], answers[1]);
  assert.deepEqual(b.media, ["camera video"]);
  assert.equal(a.line.pc.signalingState, "stable");
});

test("an answer is sent again even while an offer of its own is open", async (t) => {
  const on = await lines(t);
  const { a, b, run, share } = on;
  on.pass = ({ from, type }, deliver) => (from === "a" && type === "answer" ? undefined : deliver());
  await share(b, "picture", "video");
  await run(1);
  await share(a, "camera", "video");
  await run(1);
  assert.deepEqual([a.line.pc.signalingState, b.line.pc.signalingState], ["have-local-offer", "have-local-offer"]);
  on.pass = (_packet, deliver) => deliver();
  await b.do((line) => line.repeat());
  await run(1);
  await a.do((line) => line.repeat());
  await run(1);
  assert.deepEqual([a.media, b.media], [["picture video"], ["camera video"]]);
});

test("packets that arrive twice change nothing", async (t) => {
  const on = await lines(t, { open: false });
  const { a, b, run, share } = on;
  on.pass = (_packet, deliver) => (deliver(), deliver());
  await a.do((line) => line.open());
  await run(3);
  await share(b, "picture", "video");
  await share(a, "camera", "video");
  await run(2);
  assert.deepEqual([a.line.up, a.media, b.media], [true, ["picture video"], ["camera video"]]);
});

test("an answer to an earlier offer is ignored", async (t) => {
  const on = await lines(t);
  const { a, run, share, sent } = on;
  const old = sent.find(({ type }) => type === "answer");
  on.pass = ({ type }, deliver) => (type === "offer" ? undefined : deliver());
  await share(a, "camera", "video");
  await run(1);
  await a.do((line) => line.receive("answer", old.payload));
  await run(1);
  assert.equal(a.line.pc.signalingState, "have-local-offer");
});

test("a late state of media does not replace a newer one", async (t) => {
  const on = await lines(t);
  const { a, b, run, share, sent } = on;
  await share(a, "camera", "video");
  await run(1);
  const [late] = sent.filter(({ from, type }) => from === "a" && type === "offer").slice(-1);
  await share(a, "camera", null);
  await run(1);
  assert.deepEqual(b.media, []);
  await b.do((line) => line.receive("offer", late.payload));
  await b.do((line) => line.receive("media", { call: "call", media: late.payload.media, version: late.payload.version }));
  await run(1);
  assert.deepEqual(b.media, []);
  await b.do((line) => line.receive("media", { call: "call", media: late.payload.media }));
  await run(1);
  assert.deepEqual(b.media, ["camera video"], "a state without a version counts");
});

test("a repeated offer brings the new state of media", async (t) => {
  const on = await lines(t);
  const { a, b, run, share } = on;
  on.pass = ({ type }, deliver) => (type === "answer" ? undefined : deliver());
  await share(a, "camera", "video");
  await run(1);
  await share(a, "camera", null);
  await run(1);
  assert.deepEqual(b.media, ["camera video"]);
  await a.do((line) => line.repeat());
  await run(1);
  assert.deepEqual(b.media, []);
});

test("a state of media that moss lost is sent again once the line is up", async (t) => {
  const on = await lines(t, { open: false });
  const { a, b, run, share, network } = on;
  network.block("direct", a.page, b.page);
  await a.do((line) => line.open());
  await share(a, "camera", "video");
  await run(1);
  on.pass = ({ type }, deliver) => (type === "media" ? undefined : deliver());
  await share(a, "camera", null);
  await run(1);
  assert.deepEqual(b.media, ["camera video"]);
  network.unblock("direct", a.page, b.page);
  await run(3);
  assert.deepEqual([b.line.up, b.media], [true, []]);
});

test("both sides may send under the same name", async (t) => {
  const { a, b, run, share } = await lines(t);
  await share(a, "talk", "audio");
  await run(1);
  await share(b, "talk", "audio");
  await run(1);
  assert.deepEqual([a.media, b.media], [["talk audio"], ["talk audio"]]);
  assert.equal(a.line.pc.getTransceivers().length, 1);
});

test("a track of another kind replaces the one of the same name", async (t) => {
  const { a, b, run, share } = await lines(t);
  await share(a, "thing", "audio");
  await run(1);
  await share(a, "thing", "video");
  await run(1);
  assert.deepEqual(b.media, ["thing video"]);
});

test("a restart finds another path, and the line stays up", async (t) => {
  const { a, b, run, network } = await lines(t);
  const { pc } = a.line;
  network.block("direct", a.page, b.page);
  await run(40);
  assert.deepEqual([a.line.up, a.line.failed], [false, true]);
  network.unblock("direct", a.page, b.page);
  await a.do((line) => line.restart());
  await run(3);
  assert.deepEqual([a.line.up, b.line.up, a.line.pc === pc], [true, true, true]);
});

test("after a hundred candidates for one description, more are dropped, with one problem", async (t) => {
  const on = await lines(t);
  const { a, run } = on;
  on.problems = [["flood"], []];
  const candidate = { candidate: "candidate:1 1 udp 1 x.local 1 typ host", sdpMid: "0", sdpMLineIndex: 0 };
  await a.do((line) => {
    for (let i = 0; i < 300; i++) line.receive("candidate", { call: "call", candidate });
  });
  await run(5);
});

test("the sixty-fifth channel of the other side is closed", async (t) => {
  const { a, b, run } = await lines(t);
  const channels = [];
  await a.do((line) => {
    for (let i = 0; i < 70; i++) channels.push(line.pc.createDataChannel(`own ${i}`));
  });
  await run(3);
  assert.equal(channels.filter(({ readyState }) => readyState === "open").length, 64);
  assert.ok(b.channel);
});
