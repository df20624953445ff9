import assert from "node:assert/strict";
import { test } from "node:test";
import { Master } from "../src/index.js";
import { stage } from "./simulation/stage.js";

/** A client that sends raw packets. */
async function raw(on, name) {
  const page = on.world.page(name);
  const peer = { page, seen: [], types: () => peer.seen.splice(0).map(({ type }) => type) };
  await on.world.do(page, () => {
    peer.socket = new on.classes.WebSocket("ws://box:8080/");
    peer.socket.onopen = () => peer.socket.send(JSON.stringify({ type: "login" }));
    peer.socket.onmessage = ({ data }) => peer.seen.push(JSON.parse(data));
  });
  peer.say = async (type, payload, times = 1) => {
    await on.world.do(page, () => {
      for (let i = 0; i < times; i++) peer.socket.send(JSON.stringify({ type, payload }));
    });
    await on.run(0.2);
  };
  peer.last = (type) => peer.seen.findLast((packet) => packet.type === type)?.payload;
  await on.run(1);
  return peer;
}

const KEY = "k".repeat(32);
const who = ({ it }, more) => ({ session: it.session, key: KEY, life: "life", ...more });

async function started(t, options, given) {
  const on = stage(t, options);
  const m = await on.master("m", given);
  await on.run(1);
  return { ...on, on, m };
}

test("thirty clients of a new session call within three seconds", async (t) => {
  const { on, run, m } = await started(t);
  for (let i = 0; i < 30; i++) await on.client(`c${i}`);
  await run(5);
  assert.equal(m.it.members.size, 30);
  const when = [];
  m.page.close();
  for (const page of on.world.pages) for (const pc of page.connections) assert.ok(pc);
  const next = await on.master("m2", { host: "m" });
  next.it.on("member", (member) => member.on("connection", () => when.push(on.world.now)));
  await run(6);
  assert.equal(when.length, 30);
  const pauses = when.sort((a, b) => a - b).map((at, i) => at - (when[i - 1] ?? at));
  assert.ok(when[29] - when[0] > 2000 && when[29] - when[0] < 4000, `${when[29] - when[0]} ms`);
  assert.ok(pauses.filter((pause) => pause < 20).length < 10, "they must call one after the other");
});

test("welcome repeats session and life, and says whether the call is known", async (t) => {
  const { on, m } = await started(t, {}, { iceServers: [{ urls: "stun:box" }] });
  const c = await raw(on, "c");
  await c.say("member", who(m));
  const { session } = m.it;
  assert.deepEqual(c.last("welcome"), { session, life: "life", iceServers: [{ urls: "stun:box" }], wait: 0 });
  await c.say("member", who(m, { call: "x" }));
  const { call, known } = c.last("welcome");
  assert.deepEqual([call, known], ["x", false]);
});

test("packets without a valid `member` are refused, once a second", async (t) => {
  const { on, run, m } = await started(t);
  const c = await raw(on, "c");
  c.seen.length = 0;
  await c.say("offer", { call: "x", n: 1 }, 5);
  assert.deepEqual(c.seen.map(({ payload }) => payload.code), ["unknown"]);
  await run(1);
  c.seen.length = 0;
  const wrong = [{ key: "" }, { key: 1 }, { key: "k".repeat(65) }, { life: null }, { hello: "x".repeat(4000) }];
  for (const more of wrong) {
    await c.say("member", who(m, more));
    await run(1);
  }
  assert.deepEqual(c.seen.map(({ payload }) => payload.code), wrong.map(() => "invalid"));
  assert.equal(m.it.members.size, 0);
});

test("a `member` for another session is ignored: the invitation is on its way", async (t) => {
  const { on, m } = await started(t);
  const c = await raw(on, "c");
  c.seen.length = 0;
  await c.say("member", who(m, { session: "another" }));
  assert.deepEqual([c.seen, m.it.members.size], [[], 0]);
});

test("one connection has one key, and at most two lives", async (t) => {
  const { on, run, m } = await started(t);
  const c = await raw(on, "c");
  const says = async (more) => {
    c.seen.length = 0;
    await c.say("member", who(m, more));
    await run(1);
    return c.last("refused")?.code;
  };
  assert.equal(await says({}), undefined);
  assert.equal(await says({ key: "another" }), "invalid");
  // As if two masters had replaced each other while it logged in. Its former life is told that it is over.
  assert.equal(await says({ life: "second", at: 2 }), "moved");
  assert.equal(c.last("welcome").life, "second");
  assert.equal(await says({ life: "second", at: 3 }), undefined);
  assert.equal(await says({ life: "third", at: 4 }), "invalid");
  assert.deepEqual([m.members.length, m.it.members.size], [2, 1]);
});

test("members above `most` are refused, and accepted when one leaves", async (t) => {
  const { on, run, m } = await started(t, {}, { most: 1 });
  const first = await on.client("c1");
  await run(2);
  const second = await on.client("c2");
  await run(15);
  assert.deepEqual(second.seen.problem.map(({ code }) => code), ["full"]);
  await first.do((game) => game.stop());
  await run(15);
  assert.deepEqual([second.it.path, m.it.members.size], ["direct", 1]);
});

test("a member that sends `bye` leaves at once", async (t) => {
  const { on, run, m } = await started(t, { optional: {} });
  const c = await on.client("c");
  await run(2);
  c.page.close();
  await run(1);
  assert.deepEqual(m.members[0].seen.left, ["goodbye"]);
});

for (const [name, optional] of [["client-left", { left: "client-left" }], ["unknown-client", {}]])
  test(`a member that vanishes by ${name} is gone after 30 s without line and id`, async (t) => {
    const { on, run, world, m } = await started(t, { optional });
    const c = await on.client("c");
    await run(2);
    const member = m.members[0];
    c.page.offline = true;
    world.networkChanged();
    c.page.close({ torn: true });
    await run(28);
    assert.equal(member.isHere, true);
    await run(80);
    assert.deepEqual(member.seen.left, ["gone"]);
  });

test("no member is gone while the master itself has no connection to moss", async (t) => {
  const { on, run, moss, network, m } = await started(t);
  const c = await on.client("c");
  await run(2);
  network.block("direct", c.page, m.page);
  moss.kill();
  await run(120);
  assert.equal(m.members[0].isHere, true);
});

test("a client that the master has forgotten begins a new life when it comes back", async (t) => {
  const { on, run, world, m } = await started(t, {}, { most: 1 });
  const away = async (page, is) => {
    page.offline = is;
    world.networkChanged();
    await run(120);
  };
  const c = await on.client("c");
  await run(2);
  await c.do((game) => game.send("before"));
  await run(1);
  await away(c.page, true);
  const d = await on.client("d"); // The messages of only one gone member are kept.
  await run(2);
  await away(d.page, true);
  await c.do((game) => game.send("after"));
  await away(c.page, false);
  const lives = m.members.map(({ life }) => life);
  assert.equal(new Set(lives).size, 3);
  assert.deepEqual(m.members.map((member) => member.seen.message), [["before"], [], ["after"]]);
  assert.equal(c.seen.master.length, 2, "`master` must report that the old life is forgotten");
  assert.equal(c.it.path, "direct");
});

test("a client that comes back after it was gone is a new member, and misses no message", async (t) => {
  const { on, run, world, m } = await started(t);
  const c = await on.client("c");
  await run(2);
  await c.do((game) => game.send(1));
  await run(1);
  c.page.offline = true;
  world.networkChanged();
  await m.do(() => m.members[0].send("missed"));
  await c.do((game) => game.send(2));
  await run(120);
  assert.deepEqual(m.members[0].seen.left, ["gone"]);
  c.page.offline = false;
  world.networkChanged();
  await run(60);
  assert.deepEqual(m.members.map((member) => member.seen.message), [[1], [2]]);
  assert.deepEqual(c.seen.message, ["missed"]);
});

test("a master that was replaced stops, and its members leave", async (t) => {
  const { on, run, m } = await started(t);
  const c = await on.client("c");
  await run(2);
  const next = await on.master("m2");
  await run(5);
  assert.deepEqual([m.seen.status.at(-1).code, m.members[0].seen.left], ["replaced", ["stopped"]]);
  assert.deepEqual([c.it.path, next.it.members.size], ["direct", 1]);
  assert.equal(m.page.timers.size, 0);
});

test("stop() sends `bye`, and start() begins another session", async (t) => {
  const { on, run, m } = await started(t);
  const c = await on.client("c");
  await run(2);
  const { session } = m.it;
  await m.do((host) => host.stop());
  await run(1);
  assert.deepEqual([c.it.path, m.members[0].seen.left], ["no-master", ["stopped"]]);
  await run(20);
  assert.deepEqual([m.page.timers.size, m.page.connections.size], [0, 0]);
  await m.do((host) => host.start());
  await run(3);
  assert.notEqual(m.it.session, session);
  assert.equal(c.it.path, "direct");
});

test("a track shared with all reaches later members, a message sent to all does not", async (t) => {
  const { on, run, m } = await started(t);
  const c1 = await on.client("c1");
  await run(2);
  await m.do((host) => host.share("picture", on.track(m, "video")));
  await m.do((host) => host.send("to all"));
  await run(1);
  const c2 = await on.client("c2", { receive: { picture: "video" } });
  await run(3);
  for (const { seen } of [c1, c2]) assert.deepEqual(seen.media.map(({ name, kind }) => `${name} ${kind}`), ["picture video"]);
  assert.deepEqual([c1.seen.message, c2.seen.message], [["to all"], []]);
});

test("a clock that is set back delays no call", async (t) => {
  const { on, run, m } = await started(t, {}, { most: 20 });
  await on.client("c1");
  await run(2);
  const { now } = Date;
  Date.now = () => now() - 3_600_000;
  const c2 = await on.client("c2");
  await run(3);
  Date.now = now;
  assert.deepEqual([c2.it.path, m.it.members.size], ["direct", 2]);
});

test("a master without a secret throws", (t) => {
  const { classes } = stage(t);
  assert.throws(() => new Master({ ...classes }), TypeError);
});
