// What still works while only one of the two connections, the line and the one to moss, is alive.

import assert from "node:assert/strict";
import { test } from "node:test";
import { stage } from "./simulation/stage.js";
import { staged } from "./actors.js";

async function connected(t, given) {
  const on = stage(t, { optional: {} }); // Without moss's own packets, which would have the same effect.
  const m = await on.master("m", given);
  const c = await on.client("c");
  await on.run(3);
  assert.equal(c.it.path, "direct");
  return { ...on, m, c, member: m.members[0] };
}

/** From now on no packet of this type reaches the page through moss. */
function loses({ page }, type) {
  for (const socket of page.sockets) {
    const received = socket.received.bind(socket);
    socket.received = (text) => JSON.parse(text).type === type || received(text);
  }
}

const lastCode = ({ seen }) => seen.status.at(-1).code;

for (const [way, connection] of Object.entries({ line: "the line", moss: "the connection to moss" })) {
  const only = ({ world, network, m, c }, type) => {
    if (way === "moss") return network.block("direct", c.page, m.page);
    world.chance.chance = () => true; // Packets sent right before a connection is closed are delivered.
    loses(c, type);
  };

  test(`a page that was replaced is told, even if only ${connection} is alive`, async (t) => {
    const on = await connected(t);
    only(on, "refused");
    await on.client("twin", { storage: on.c.page.storage.copy() });
    await on.run(2);
    assert.equal(lastCode(on.c), "moved");
  });

  test(`a master's \`bye\` arrives, even if only ${connection} is alive`, async (t) => {
    const on = await connected(t);
    only(on, "bye");
    loses(on.c, "moss-error");
    await on.m.do((host) => host.stop());
    await on.run(2);
    assert.equal(on.c.it.path, "no-master");
  });

  test(`a kick arrives, even if only ${connection} is alive`, async (t) => {
    const on = await connected(t);
    only(on, "kick");
    await on.m.do(() => on.member.kick("enough"));
    await on.run(2);
    assert.equal(lastCode(on.c), "kicked");
  });
}

test("a page that is closed sends `bye` over the line, too", async (t) => {
  const { run, moss, c, member } = await connected(t);
  moss.kill();
  await run(1);
  await c.do(() => c.page.window.dispatch("pagehide", { persisted: false }));
  await run(2);
  assert.deepEqual(member.seen.left, ["goodbye"]);
});

test("new media are negotiated over the line while moss is down, by either side", async (t) => {
  const on = await connected(t);
  const { run, moss, m, c, member } = on;
  moss.kill();
  await run(1);
  await c.do((game) => game.share("camera", on.track(c, "video")));
  await run(2);
  await m.do((host) => host.share("picture", on.track(m, "video")));
  await run(2);
  assert.deepEqual(member.seen.media.map(({ name }) => name), ["camera"]);
  assert.deepEqual(c.seen.media.map(({ name }) => name), ["picture"]);
  assert.equal(c.seen.connection.length, 1);
});

test("when a line goes down, the connection to moss is tested", async (t) => {
  const { run, world, c } = await connected(t);
  const before = c.seen.status.length;
  c.page.offline = true;
  world.networkChanged();
  await run(14);
  assert.ok(c.seen.status.length > before, "without the test, it would notice only 30 s after the login");
});

test("a master that closes each call is called at most once in two seconds", async (t) => {
  const { run, m, c } = await connected(t);
  const calls = c.seen.connection.length;
  m.members[0].on("path", (path) => path === "direct" && m.members[0].line.close());
  await m.do(() => m.members[0].line.close());
  await run(20);
  const more = c.seen.connection.length - calls;
  assert.ok(more >= 3 && more <= 10, `${more} calls`);
});

test("ICE servers are asked for again after a failure", async (t) => {
  let asked = 0;
  const iceServers = async () => {
    if (++asked === 1) throw new Error("not now");
    return [{ urls: "stun:box" }];
  };
  const { run, c } = await connected(t, { iceServers });
  await run(15);
  assert.equal(asked, 2);
  assert.deepEqual(c.it.pc.getConfiguration().iceServers, [{ urls: "stun:box" }]);
});

test("a client that is connected to moss but silent for five minutes is gone", staged(async (stage) => {
  const { master, last } = await stage.master();
  const stranger = await stage.stranger();
  await stranger.enter();
  const left = [];
  last().on("left", (why) => left.push(why));
  await stage.run(290);
  assert.deepEqual(left, []);
  await stage.run(20);
  assert.deepEqual([left, master.members.size], [["gone"], 0]);
}));
