// What people do with the pages of both sides during calls.

import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../harness.js";
import { makeNetwork } from "./network.js";
import { everyPair, interrupted, lives, masterOptions, Pair, pass, saysGoodbye } from "./players.js";

/** How many RTCPeerConnections there were on each side. */
const lines = (pairs) =>
  Promise.all(
    pairs.map(async (pair) => {
      const { client, master } = await pair.look();
      return [pair.label, client.connections, master.connections];
    }),
  );

test("pages in all pairs of browsers", async (t) => {
  const { phones, masters, mosses, pairs, atBox } = await everyPair(t, await makeNetwork(t));
  const ordered = () => Promise.all(pairs.map((pair) => pair.isInOrder()));

  await t.test("a camera is switched off, on, off and on again without a new call", async (t) => {
    const before = await lines(pairs);
    const shown = (on) =>
      Promise.all(
        pairs.map((pair) =>
          until(`${pair.label}: cameras are ${on ? "on" : "off"}`, async () => {
            const { client, master } = await pair.look();
            return client.media.camera === on && master.media.camera === on;
          }),
        ),
      );
    const everybody = [...masters, ...pairs.map(({ client }) => client)];
    const set = async (on) => {
      await Promise.all(everybody.map((player) => player.share("camera", on)));
      await shown(on);
    };
    for (const round of ["first", "second"]) {
      await set(false);
      await Promise.all(pairs.map((pair) => pair.flows({ kinds: ["messages", "audio"] })));
      await interrupted(t, `camera on, the ${round} time`, pairs, () => set(true), { kinds: ["messages", "audio"] });
      await Promise.all(pairs.map((pair) => pair.flows()));
    }
    assert.deepEqual(await lines(pairs), before);
    await ordered();
  });

  await t.test("a phone sleeps for 40 seconds", async (t) => {
    await interrupted(t, "the phone sleeps for 40 seconds", pairs, async () => {
      await Promise.all(phones.map((phone) => phone.sleep()));
      await pass(40);
      await Promise.all(phones.map((phone) => phone.wake()));
    });
    await ordered();
  });

  await t.test("a client's page is reloaded: the same member, by its key", async (t) => {
    const before = await Promise.all(pairs.map(lives));
    await interrupted(t, "the client's page is reloaded", pairs, () => Promise.all(pairs.map(({ client }) => client.reload())));
    for (const [number, pair] of pairs.entries()) {
      const now = await lives(pair);
      assert.equal(now.length, before[number].length + 1, `${pair.label}: one more life`);
      assert.equal(now.at(-1).key, before[number].at(-1).key);
      assert.match(now.at(-2).left, /^(goodbye|replaced)$/);
    }
    await ordered();
  });

  await t.test("the master's page is reloaded", async (t) => {
    const before = await Promise.all(pairs.map((pair) => pair.look()));
    await interrupted(t, "the master's page is reloaded", pairs, () => Promise.all(masters.map((master) => master.reload())));
    for (const [number, pair] of pairs.entries()) {
      const { client, master, pages } = await pair.look();
      assert.equal(master.key, before[number].master.key);
      assert.equal(pages.client.masters, before[number].pages.client.masters + 1, "one event for the new session");
      assert.equal(pages.client.open, 1);
      assert.equal(client.connections, before[number].client.connections + 1);
    }
    await ordered();
  });

  await t.test("another page becomes the master", async (t) => {
    let others;
    const moved = [];
    await interrupted(t, "another page becomes the master", pairs, async () => {
      const options = { ...masterOptions, media: true, name: "another" };
      others = await Promise.all(masters.map((_, number) => atBox(masters.at(-1 - number).browser, mosses[number], options)));
      moved.push(...pairs.map(({ client, master }) => new Pair(client, others[masters.indexOf(master)])));
    }, { then: moved });
    for (const master of masters) await until(`${master.name} is told`, async () => (await master.look()).status.at(-1).code === "replaced");
    for (const pair of moved) assert.equal((await pair.look()).pages.client.open, 1);
    await Promise.all(moved.map((pair) => pair.isInOrder()));
    await Promise.all(others.map((other) => other.leave()));
  });

  await t.test("the master's page is closed, and opened again later", async () => {
    const sees = (path) => Promise.all(pairs.map(({ client }) => until(`${client.name} sees ${path}`, async () => (await client.look()).watches[0].path === path)));
    await sees("no-master");
    await Promise.all(masters.map((master) => master.return()));
    await Promise.all(pairs.map((pair) => pair.flows()));
    await ordered();
  });

  await t.test("a client's page is closed", async () => {
    await Promise.all(pairs.map((pair) => saysGoodbye(pair)));
    for (const master of masters) assert.equal((await master.look()).open, 0);
  });
});
