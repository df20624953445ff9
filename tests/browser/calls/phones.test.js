// The effect of moss's settings on phones.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FOR_MANY_TABS } from "../browsers.js";
import { until } from "../harness.js";
import { makeNetwork } from "./network.js";
import { interrupted, LONG, masterOptions, Pair, saysGoodbye, startBrowsers, startServer } from "./players.js";

const names = LONG ? Object.keys(FOR_MANY_TABS) : ["Chromium"];

/** A moss, a master and browsers on a phone. */
async function scene(t, { settings, client = "Chromium" } = {}) {
  const network = await makeNetwork(t);
  const phone = await network.phone();
  const [moss, atBox, onPhone] = await Promise.all([
    startServer(t, network, settings),
    startBrowsers(t, network.box, ["Chromium"]),
    startBrowsers(t, phone.netns, [client]),
  ]);
  const master = await atBox("Chromium", moss, { ...masterOptions, media: true });
  const join = (options) => onPhone(client, moss, { role: "client", name: "phone", media: true, ...options });
  return { moss, master, join };
}

const memberOf = async (master) => (await master.look()).watches.at(-1);

/** Settings without moss's optional packets. None of these packets is needed. */
const SILENT = Object.fromEntries(["CLIENT_JOINED", "CLIENT_LEFT", "MASTER_LEFT", "KICK"].map((type) => [`MOSS_${type}_TYPE`, undefined]));

describe("phones", { concurrency: 2 }, () => {
  for (const client of names)
    for (const [what, settings] of [
      ["without optional packets", SILENT],
      ["with optional packets", {}],
    ])
      test(`a moss ${what}, and a client in ${client}`, async (t) => {
        const { moss, master, join } = await scene(t, { settings, client });
        const pair = new Pair(await join(), master);
        await pair.flows();
        const before = await pair.look();
        await interrupted(t, `a moss ${what} is restarted`, [pair], async () => {
          await moss.kill();
          await moss.again();
          await until("both are back", async () => Object.values((await pair.look()).pages).every(({ status }) => status.length > 2 && status.at(-1).state === "ready"));
        });
        assert.equal((await pair.look()).client.connections, before.client.connections);
        await pair.client.reload();
        assert.equal((await pair.flows()).master.key, before.master.key);
        await master.reload();
        await pair.flows();
        await pair.isInOrder();

        await saysGoodbye(pair);

        if (client !== "Chromium") return; // Firefox can't be made to crash.
        const crashing = await join({ name: "crashing" });
        await new Pair(crashing, master).flows();
        const start = Date.now();
        await crashing.tab.goto("chrome://crash").catch(() => {});
        await until("it is gone", async () => (await memberOf(master)).left === "gone");
        t.diagnostic(`a page crashed with a moss ${what}: reported as gone after ${Math.round((Date.now() - start) / 1000)} s`);
      });

  test("the wrong secret for clients", async (t) => {
    const { moss, master, join } = await scene(t, { settings: { MOSS_LOGIN_SECRET: "4711" } });
    for (const loginSecret of [undefined, "4712"]) {
      const wrong = await join({ loginSecret });
      const { state, code } = await until("it stops", async () => (await wrong.look()).status.find(({ state }) => state === "stopped"));
      assert.deepEqual([state, code], ["stopped", "wrong-secret"]);
      await wrong.tab.close();
    }
    await new Pair(await join({ loginSecret: "4711" }), master).flows();
    assert.equal(moss.log().match(/: wrong-secret$/gm).length, 2, "a refused client must not try again by itself");
  });

  test("after a tab is duplicated, the copy works, and the original says why it stopped", async (t) => {
    const { master, join } = await scene(t);
    const original = await join();
    await new Pair(original, master).flows();
    const { tab } = original.tab;
    const [copy] = await Promise.all([tab.waitForEvent("popup"), tab.evaluate("void open(location.href)")]);
    const seen = async () => JSON.parse(await copy.evaluate("globalThis.look?.() ?? null"));
    await until("the copy is on the line", async () => (await seen())?.watches[0].messages.count > 5);
    const before = (await original.look()).watches[0];
    const [client] = (await seen()).watches;
    assert.equal(client.key, before.key);
    const { code } = await until("the original stops", async () => (await original.look()).status.find(({ state }) => state === "stopped"));
    assert.equal(code, "moved");
    const { watches } = await master.look();
    assert.deepEqual(watches.map(({ left }) => left), ["replaced", undefined], "they must not replace each other repeatedly");
  });
});
