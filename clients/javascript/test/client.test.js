import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "../src/index.js";
import { Storage } from "./simulation/page.js";
import { stage } from "./simulation/stage.js";

/** A master and a client whose line is up. */
async function connected(t, options, given) {
  const on = stage(t, options);
  const master = await on.master("m");
  const client = await on.client("c", given);
  await on.run(3);
  assert.equal(client.it.path, "direct");
  return { ...on, m: master, c: client, member: master.members[0] };
}

test("a client emits `master`, calls, and gets a direct path", async (t) => {
  const { m, c, member } = await connected(t, {}, { hello: { name: "Ann" } });
  assert.deepEqual(c.seen.master, [{ session: m.it.session }]);
  assert.deepEqual([c.seen.path, member.seen.path], [["direct"], ["direct"]]);
  assert.deepEqual(member.hello, { name: "Ann" });
  assert.equal(member.key, c.it.key);
  assert.match(c.it.key, /^[0-9a-f]{32}$/);
  assert.deepEqual(c.seen.connection, [c.it.pc]);
  assert.equal(c.it.state, "ready");
  assert.ok(c.it.roundTripTime > 0);
});

test("without a master the path is no-master, until one comes", async (t) => {
  const on = stage(t);
  const c = await on.client("c");
  await on.run(4);
  assert.deepEqual(c.seen.path, ["no-master"]);
  await on.master("m");
  await on.run(3);
  assert.deepEqual(c.seen.path, ["no-master", "lost", "direct"]);
});

test("messages sent before there is a master reach the first one", async (t) => {
  const on = stage(t);
  const c = await on.client("c");
  await c.do((game) => game.send("early"));
  const m = await on.master("m");
  await on.run(3);
  assert.deepEqual(m.members[0].seen.message, ["early"]);
});

test("messages, datagrams and own channels go both ways", async (t) => {
  const { run, m, c, member } = await connected(t);
  await c.do((game) => game.send({ buzz: 1 }));
  await m.do(() => member.send([2]));
  await c.do((game) => game.sendDatagram("text"));
  await m.do(() => member.sendDatagram(new Uint8Array([1, 2])));
  await c.do((game) => game.pc.createDataChannel("own"));
  await run(1);
  assert.deepEqual(member.seen.message, [{ buzz: 1 }]);
  assert.deepEqual(c.seen.message, [[2]]);
  assert.deepEqual(member.seen.datagram, ["text"]);
  assert.deepEqual([...new Uint8Array(c.seen.datagram[0])], [1, 2]);
  assert.deepEqual(member.seen.channel.map(({ label }) => label), ["own"]);
});

test("a line stays up while moss is down", async (t) => {
  const { run, moss, m, c, member } = await connected(t);
  const { pc } = c.it;
  moss.kill();
  await run(60);
  await c.do((game) => game.send("while moss is away"));
  await run(1);
  assert.deepEqual(member.seen.message, ["while moss is away"]);
  moss.start();
  await run(20);
  assert.equal(c.it.pc, pc);
  assert.deepEqual([c.seen.path, m.members.length], [["direct"], 1]);
  assert.equal(typeof member.id, "string");
});

test("a line that is down is restarted after 4 s, without a new call", async (t) => {
  const { run, network, m, c } = await connected(t);
  const { pc } = c.it;
  const ufrag = pc.localUfrag;
  network.block("direct", c.page, m.page);
  await run(13);
  assert.deepEqual(c.seen.path, ["direct", "lost"]);
  assert.notEqual(pc.localUfrag, ufrag);
  network.unblock("direct", c.page, m.page);
  await run(3);
  assert.deepEqual(c.seen.path, ["direct", "lost", "direct"]);
  assert.equal(c.it.pc, pc);
});

test("a restart that does not help within 10 s is followed by a new call", async (t) => {
  const { run, network, m, c, member } = await connected(t);
  network.block("direct", c.page, m.page);
  await run(30);
  assert.ok(c.seen.connection.length > 1);
  network.unblock("direct", c.page, m.page);
  await run(40);
  assert.equal(c.it.path, "direct");
  assert.deepEqual([member.isHere, m.members.length], [true, 1]);
});

test("after the other side closes a line, the client calls again", async (t) => {
  const { run, m, c, member } = await connected(t);
  const { pc } = c.it;
  await m.do(() => member.pc.close());
  await run(8);
  assert.deepEqual([c.it.path, member.path, c.it.pc === pc], ["direct", "direct", false]);
});

test("if only the master's side of a line is down, the client restarts it, and calls again if that does not help", async (t) => {
  const { run, c } = await connected(t);
  const [socket] = c.page.sockets;
  const say = () => c.do((game) => socket.received(JSON.stringify({ type: "welcome", payload: { ...game.lives, call: game.line.call, known: true, down: true } })));
  const { call } = c.it.line;
  await say();
  await run(5);
  assert.deepEqual([c.it.line.call, c.seen.connection.length], [call, 1]);
  await say();
  await run(5);
  assert.notEqual(c.it.line.call, call);
  assert.deepEqual([c.it.path, c.seen.connection.length], ["direct", 2]);
});

test("calls that do not come up are repeated after 15, 20, 30 and 30 s", async (t) => {
  const on = stage(t);
  const when = [];
  const m = await on.master("m");
  on.network.block("direct", { host: "c" }, m.page);
  await on.client("c", { before: (game) => game.on("connection", () => when.push(on.world.now / 1000)) });
  await on.run(110);
  const pauses = when.slice(1).map((at, i) => Math.round(at - when[i]));
  assert.deepEqual(pauses, [15, 20, 30, 30]);
});

test("with the fallback, messages go through moss while there is no line", async (t) => {
  const { run, network, m, c, member } = await connected(t, {}, { fallback: "moss" });
  network.block("direct", c.page, m.page);
  await c.do((game) => game.send("on its way"));
  await run(15);
  await m.do(() => member.send("back"));
  await run(1);
  assert.deepEqual([c.it.path, member.path], ["moss", "moss"]);
  assert.deepEqual([member.seen.message, c.seen.message], [["on its way"], ["back"]]);
  network.unblock("direct", c.page, m.page);
  await run(40);
  assert.deepEqual([c.it.path, member.path], ["direct", "direct"]);
});

test("without the fallback, messages wait for a line", async (t) => {
  const { run, network, m, c, member } = await connected(t);
  network.block("direct", c.page, m.page);
  await c.do((game) => game.send("kept"));
  await run(15);
  assert.deepEqual([c.it.path, member.seen.message], ["lost", []]);
  network.unblock("direct", c.page, m.page);
  await run(40);
  assert.deepEqual(member.seen.message, ["kept"]);
});

test("time in which a page is frozen does not count", async (t) => {
  const { run, c, m, member } = await connected(t);
  const { pc } = c.it;
  c.page.freeze();
  await run(40);
  await m.do(() => member.send("while it slept"));
  c.page.thaw();
  await run(10);
  assert.deepEqual(c.seen.message, ["while it slept"]);
  assert.deepEqual([c.it.pc === pc, c.it.path, member.isHere], [true, "direct", true]);
});

test("media are switched on, off and on again without another negotiation", async (t) => {
  const on = await connected(t);
  const { run, c, member } = on;
  const names = () => member.seen.media.splice(0).map(({ name, kind, track }) => `${name} ${kind} ${track ? "on" : "off"}`);
  await c.do((game) => game.share("camera", on.track(c, "video")));
  await run(1);
  const description = c.it.pc.currentLocalDescription;
  await c.do((game) => game.share("camera", null));
  await run(1);
  await c.do((game) => game.share("camera", on.track(c, "video")));
  await run(1);
  assert.deepEqual(names(), ["camera video on", "camera video off", "camera video on"]);
  assert.equal(c.it.pc.currentLocalDescription, description);
});

test("of several calls of share() at once, the last one counts", async (t) => {
  const on = await connected(t);
  const { c } = on;
  await c.do((game) => game.share("camera", on.track(c, "video")));
  await c.do((game) => game.share("camera", null));
  await on.run(1);
  await c.do((game) => void (game.share("camera", on.track(c, "video")), game.share("camera", null)));
  await on.run(1);
  assert.deepEqual(c.it.pc.getSenders().map(({ track }) => track), [null]);
});

test("share() resolves when the line is closed", async (t) => {
  const on = await connected(t);
  const { c } = on;
  await c.do((game) => game.share("camera", on.track(c, "video")));
  await on.run(1);
  let isDone = false;
  await c.do((game) => {
    game.share("camera", null).then(() => (isDone = true));
    queueMicrotask(() => game.stop());
  });
  await on.run(1);
  assert.equal(isDone, true);
});

test("a new hello is sent through moss, and over the line while moss is down", async (t) => {
  const { run, moss, c, member } = await connected(t, {}, { hello: 1 });
  await c.do((game) => (game.hello = 2));
  await run(1);
  moss.kill();
  await run(1);
  await c.do((game) => (game.hello = 3));
  await run(1);
  assert.deepEqual(member.seen.hello, [2, 3]);
});

for (const optional of [{}, { kick: "kick" }])
  test(`a kick stops the page for good (${optional.kick ? "by moss" : "moss has no kick"})`, async (t) => {
    const { run, m, c, member } = await connected(t, { optional });
    await m.do(() => member.kick("enough"));
    await run(30);
    const { state, code, message } = c.seen.status.at(-1);
    assert.deepEqual([state, code, m.it.members.size], ["stopped", "kicked", 0]);
    assert.match(message, /enough/);
    assert.deepEqual(member.seen.left, ["kicked"]);
  });

test("a member that is kicked while out of reach is kicked when it comes back", async (t) => {
  const { run, world, m, c, member } = await connected(t);
  c.page.offline = true;
  world.networkChanged();
  await run(50);
  if (member.isHere) await m.do(() => member.kick("enough"));
  else assert.fail("it should not be gone yet");
  c.page.offline = false;
  world.networkChanged();
  await run(60);
  assert.deepEqual([c.it.state, m.it.members.size], ["stopped", 0]);
});

test("after a reload a page has the same key and another life", async (t) => {
  const { run, client, m, c, member } = await connected(t);
  c.page.close();
  const again = await client("c2", { storage: c.page.storage });
  await run(3);
  assert.deepEqual(member.seen.left, ["goodbye"]);
  assert.equal(m.members.length, 2);
  assert.deepEqual([m.members[1].key, m.members[1].path], [member.key, "direct"]);
  assert.equal(again.it.key, c.it.key);
});

test("of two tabs with one key the newer one replaces the older", async (t) => {
  const { run, client, m, c, member } = await connected(t);
  const twin = await client("c2", { storage: c.page.storage.copy() });
  await run(3);
  assert.deepEqual(member.seen.left, ["replaced"]);
  assert.deepEqual([c.seen.status.at(-1).state, c.seen.status.at(-1).code], ["stopped", "moved"]);
  assert.deepEqual([twin.it.path, m.it.members.size], ["direct", 1]);
});

test("a tab that was replaced while it was out of reach stops when it comes back", async (t) => {
  const { run, world, client, m, c } = await connected(t);
  const away = async (is) => {
    c.page.offline = is;
    world.networkChanged();
    await run(30);
  };
  await away(true);
  const twin = await client("c2", { storage: c.page.storage.copy() });
  await run(3);
  await away(false);
  assert.deepEqual([c.seen.status.at(-1).state, c.seen.status.at(-1).code], ["stopped", "moved"]);
  assert.deepEqual([twin.it.path, twin.it.state, m.it.members.size], ["direct", "ready", 1]);
});

test("late packets of an old connection do not bring the former page back", async (t) => {
  const { run, world, client, m, c } = await connected(t);
  // Out of reach, the page repeats its `member`. All of these packets arrive when the network is back.
  c.page.offline = true;
  world.networkChanged();
  await run(32);
  c.page.close({ torn: false });
  const again = await client("c2", { storage: c.page.storage });
  await run(1);
  c.page.offline = false;
  await run(30);
  assert.equal(again.it.path, "direct");
  assert.deepEqual([...m.it.members.values()].map(({ life }) => life), [m.members.at(-1).life]);
});

test("a new session of the master is reported, gets no old messages, and is called", async (t) => {
  const { run, master, m, c } = await connected(t);
  await c.do((game) => game.send("to the first"));
  await run(1);
  m.page.close();
  await run(1);
  assert.equal(c.it.path, "no-master");
  await c.do((game) => game.send("to the next"));
  const next = await master("m2", { host: "m" });
  await run(3);
  assert.deepEqual(c.seen.master.map(({ session }) => session), [m.it.session, next.it.session]);
  assert.deepEqual(next.members[0].seen.message, ["to the next"]);
});

test("a session may come back after another one", async (t) => {
  const { run, master, m, c } = await connected(t);
  await c.do((game) => game.send(1));
  await run(1);
  m.page.sockets.forEach((socket) => socket.wire.silence());
  const other = await master("m2");
  await run(60); // Enough for the first master to notice, and to become master again.
  assert.equal(other.it.state, "stopped");
  await c.do((game) => game.send(2));
  await m.do((host) => host.send("again"));
  await run(2);
  assert.deepEqual(m.members.map((member) => member.seen.message), [[1], [2]]);
  assert.deepEqual(c.seen.message, ["again"]);
});

test("stop() sends `bye` at once and leaves nothing running", async (t) => {
  const { run, c, member } = await connected(t);
  await c.do((game) => game.stop());
  await run(1);
  assert.deepEqual(member.seen.left, ["goodbye"]);
  await run(20);
  assert.deepEqual([c.page.timers.size, c.page.connections.size, c.page.sockets.size], [0, 0, 0]);
  await c.do((game) => game.start());
  await run(3);
  assert.equal(c.it.path, "direct");
});

test("a send over the limit is reported once, and a value that is not JSON throws", async (t) => {
  const on = stage(t);
  const c = await on.client("c");
  const big = "x".repeat(50_000);
  await c.do((game) => {
    assert.throws(() => game.send(() => {}), TypeError);
    assert.throws(() => game.send("x".repeat(60_000)), RangeError);
    while (game.send(big));
    assert.equal(game.send(big), false);
  });
  assert.deepEqual(c.seen.problem.map(({ code }) => code), ["unsent"]);
});

test("with a storage that fails, a reloaded page is a new member", async (t) => {
  const fails = new Storage();
  fails.setItem = () => {
    throw new DOMException("no room", "QuotaExceededError");
  };
  await connected(t, {}, { storage: fails });
});

test("a client goes on after a handler that throws", async (t) => {
  const { run, c, m, member } = await connected(t);
  let heard = 0;
  c.it.on("message", () => {
    heard += 1;
    throw new Error("the application's own");
  });
  await m.do(() => [1, 2].map((data) => member.send(data)));
  await run(1);
  assert.deepEqual([heard, c.page.errors.splice(0).map(({ message }) => message)], [2, ["the application's own", "the application's own"]]);
});

test("a wrong code stops the client with `wrong-secret`", async (t) => {
  const on = stage(t, { loginSecret: "1234" });
  const c = await on.client("c", { loginSecret: "4321" });
  await on.run(1);
  assert.deepEqual([c.seen.status.at(-1).state, c.seen.status.at(-1).code], ["stopped", "wrong-secret"]);
  await c.do((game) => game.stop());
  await on.run(20);
  assert.equal(c.page.timers.size, 0);
});

test("an invalid address throws at once", (t) => {
  const { classes } = stage(t);
  assert.throws(() => new Client({ ...classes, address: "ftp://box" }), TypeError);
});

const NONSENSE = [null, 1, "x", [], {}, { session: 1 }];

test("a hostile master's packets cause no exception", async (t) => {
  const { run, moss, c } = await connected(t);
  const socket = [...c.page.sockets][0];
  for (const type of ["master-offer", "welcome", "refused", "offer", "answer", "candidate", "media", "message", "ack", "bye", "x"])
    for (const payload of [...NONSENSE, { session: c.it.lives.session, life: c.it.lives.life, wait: "x", iceServers: [1], known: false }])
      await c.do(() => socket.received(JSON.stringify({ type, payload })));
  await run(60);
  assert.equal(moss.up, true);
});
