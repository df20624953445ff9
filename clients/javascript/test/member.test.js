import assert from "node:assert/strict";
import { test } from "node:test";
import { stage } from "./simulation/stage.js";

const START = Date.UTC(2030, 0, 1);

async function connected(t, options, given) {
  const on = stage(t, options);
  const m = await on.master("m", given);
  const c = await on.client("c");
  await on.run(3);
  return { ...on, on, m, c, member: m.members[0] };
}

/** Sends packets as the client would, through its connection to moss. */
const say = ({ c, run }, type, payload, times = 1) =>
  c.do((game) => {
    for (let i = 0; i < times; i++) game.signaling.send(type, typeof payload === "function" ? payload(i) : payload);
  }).then(() => run(0.5));

test("a flood of packets is dropped, and reported once", async (t) => {
  const scene = await connected(t);
  await say(scene, "x", {}, 5000);
  await say(scene, "x", {}, 5000);
  assert.deepEqual(scene.member.seen.problem.map(({ code }) => code), ["flood"]);
});

test("a thousand calls make twenty connections at most, and one more each second", async (t) => {
  const scene = await connected(t);
  await say(scene, "offer", (i) => ({ call: `call ${i}`, n: 1, description: { type: "offer", sdp: "rubbish" } }), 1000);
  const { length } = scene.member.seen.connection;
  assert.ok(length <= 22, `${length} connections`);
  assert.ok(scene.member.seen.problem.some(({ code }) => code === "flood"));
  await scene.run(40);
  assert.deepEqual([scene.c.it.path, scene.member.isHere], ["direct", true]);
});

test("an offer of an ended call, or with `n` above 1 of an unknown one, makes no connection", async (t) => {
  const scene = await connected(t);
  const { member } = scene;
  const { call } = member.line;
  scene.moss.spoil = ({ type, payload }) => (type === "offer" && payload.description.sdp !== "rubbish" ? "lose" : "pass");
  await say(scene, "offer", { call: "another", n: 1, description: { type: "offer", sdp: "rubbish" } });
  assert.equal(member.seen.connection.length, 2);
  await say(scene, "offer", { call, n: 1, description: { type: "offer", sdp: "rubbish" } });
  await say(scene, "offer", { call: "unheard of", n: 2, description: { type: "offer", sdp: "rubbish" } });
  assert.equal(member.seen.connection.length, 2);
});

test("invalid packets affect only the sender's line", async (t) => {
  const scene = await connected(t);
  const other = await scene.client("c2");
  await scene.run(3);
  const { pc } = other.it;
  const { call } = scene.member.line;
  for (const type of ["offer", "answer", "candidate", "media", "message", "ack", "bye", "member", "kick", "welcome"])
    for (const payload of [null, 1, "x", [], {}, { call }, { call, n: 7 }, { call, n: 8, description: null }, { call, n: 9, description: { type: "offer", sdp: 1 } }, { call, media: [null, 1, { mid: 1 }] }, { call, candidate: {} }])
      await say(scene, type, payload);
  await scene.run(60);
  assert.deepEqual([other.it.pc === pc, other.it.path, other.seen.path], [true, "direct", ["direct"]]);
  assert.deepEqual(scene.m.seen.problem, []);
});

test("ICE servers are asked for once, used by both sides, and renewed before they expire", async (t) => {
  const on = stage(t);
  let asked = 0;
  const iceServers = async (member) => {
    asked += 1;
    const expiry = Math.round((START + on.world.now) / 1000 + 100);
    return [{ urls: "turn:box", username: `${expiry}:${member.key}`, credential: `c${asked}` }];
  };
  const m = await on.master("m", { iceServers });
  const c = await on.client("c");
  await on.run(3);
  const both = () => [c.it.pc, m.members[0].pc].map((pc) => pc.getConfiguration().iceServers[0].credential);
  assert.deepEqual([asked, both()], [1, ["c1", "c1"]]);
  const { pc } = c.it;
  await on.run(82);
  assert.deepEqual([asked, both(), c.it.pc === pc], [2, ["c2", "c2"], true]);
  on.moss.kill();
  await on.run(82);
  assert.deepEqual([asked, both()], [3, ["c3", "c3"]]);
});

test("ICE servers that a browser refuses are reported on both sides, and the call goes on without", async (t) => {
  const on = stage(t);
  const refuses = ({ iceServers }) => {
    if (iceServers.some(({ urls }) => !/^(stun|turns?):/.test(urls))) throw new SyntaxError("no URL of a server");
  };
  const RTCPeerConnection = class extends on.classes.RTCPeerConnection {
    constructor(configuration) {
      refuses(configuration);
      super(configuration);
    }
  };
  const m = await on.master("m", { RTCPeerConnection, iceServers: [{ urls: "http://box" }] });
  const c = await on.client("c", { RTCPeerConnection });
  await on.run(5);
  assert.equal(c.it.path, "direct");
  for (const { problem } of [c.seen, m.members[0].seen]) assert.deepEqual(problem.map(({ code }) => code), ["ice-servers"]);
});

test("a function for ICE servers that fails or never answers is reported, and the call goes on without", async (t) => {
  for (const iceServers of [() => Promise.reject(new Error("no secret")), () => new Promise(() => {})]) {
    const on = stage(t);
    const m = await on.master("m", { iceServers });
    const c = await on.client("c");
    await on.run(14);
    assert.equal(m.members[0].seen.problem[0].code, "ice-servers");
    assert.equal(c.it.path, "direct");
    on.world.restore();
  }
});

test("ICE servers that have already expired are asked for again only after a pause", async (t) => {
  let asked = 0;
  const iceServers = () => {
    asked += 1;
    return [{ urls: "turn:box", username: "1000000000:k", credential: "c" }];
  };
  const on = stage(t);
  await on.master("m", { iceServers });
  await on.client("c");
  await on.run(60);
  assert.ok(asked > 1 && asked < 30, `${asked} times`);
});

test("a hello that is older than the last one is ignored", async (t) => {
  const scene = await connected(t);
  const { c, m, member } = scene;
  await c.do((game) => (game.hello = "new"));
  await scene.run(1);
  const said = { session: m.it.session, key: c.it.key, life: member.life };
  await say(scene, "member", { ...said, hello: "old", at: START + 1000 });
  assert.equal(member.hello, "new");
  await say(scene, "member", { ...said, hello: "of a clock that was set back", at: START - 3_600_000 });
  assert.equal(member.hello, "of a clock that was set back");
});

test("a member that has left emits no more events", async (t) => {
  const scene = await connected(t);
  const { m, c, member } = scene;
  await m.do(() => member.kick());
  const { length } = member.seen.message;
  await c.do((game) => game.send("too late"));
  await scene.run(5);
  assert.deepEqual([member.seen.message.length, member.seen.left], [length, ["kicked"]]);
});
