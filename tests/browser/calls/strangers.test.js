// Hostile peers do not affect others.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FOR_MANY_TABS } from "../browsers.js";
import { SECRET, until } from "../harness.js";
import { makeNetwork } from "./network.js";
import { LONG, masterOptions, Pair, startBrowsers, startServer } from "./players.js";

const names = LONG ? Object.keys(FOR_MANY_TABS) : ["Chromium"];

/** The largest number of RTCPeerConnections that a thousand calls may cost: twenty at once, and one each second. */
const AFFORDABLE = 100;

for (const name of names)
  test(`a client among others, at a master in ${name}`, async (t) => {
    const network = await makeNetwork(t);
    const phones = await Promise.all([network.phone(), network.phone()]);
    const [moss, atBox, honest, stranger] = await Promise.all([
      startServer(t, network),
      startBrowsers(t, network.box, [name]),
      startBrowsers(t, phones[0].netns, [name]),
      startBrowsers(t, phones[1].netns, ["Chromium"]),
    ]);
    const master = await atBox(name, moss, { ...masterOptions, media: true });
    const pair = new Pair(await honest(name, moss, { role: "client", name: "honest", media: true }), master);
    let now = await pair.flows();

    /** Does this, and returns whether the honest line was lost for a moment. */
    const loses = async (trick, then) => {
      const before = now;
      const { pages } = await pair.look();
      const { tab } = await stranger("Chromium", moss, { page: "stranger" });
      await tab.evaluate(`${trick}()`);
      await then(pages.master);
      now = await pair.flows();
      await pair.isInOrder();
      await tab.close();
      const paths = ["client", "master"].flatMap((side) => {
        assert.equal(now[side].connections, before[side].connections);
        return now[side].paths.slice(before[side].paths.length);
      });
      assert.deepEqual(paths.filter((path) => !["lost", "direct"].includes(path)), [], "the honest line");
      return paths.includes("lost");
    };
    const tries = (what, trick, then = async () => {}) =>
      t.test(what, async () => {
        // ICE also misses its packets for a moment on a machine that stalls, but hardly each time.
        for (let left = 3; await loses(trick, then); ) assert.ok(--left, "the honest line was lost each time");
      });
    const problem = (code, { watches: before }) =>
      until(`the application gets the problem "${code}"`, async () => {
        const { watches } = await master.look();
        return watches.slice(before.length).some(({ problems }) => problems.some((problem) => problem.startsWith(`${code}: `)));
      });

    await tries("sends rubbish in every field", "sendRubbish", (before) => problem("invalid", before));
    await tries("calls a thousand times", "callAThousandTimes", async (before) => {
      await problem("flood", before);
      assert.ok((await master.look()).made < before.made + AFFORDABLE);
    });
    await tries("sends twenty thousand candidates", "sendCandidates", (before) => problem("flood", before));
    await tries("becomes fifty members", "beMany");
    await tries("misuses a line of its own", "misuseALine");
    await t.test("takes the key of another client, which is told and stops", async () => {
      const { tab } = await stranger("Chromium", moss, { page: "stranger" });
      assert.deepEqual(await tab.evaluate(`takeKey(${JSON.stringify(now.client.key)})`), []);
      await until("the other one has stopped", async () => (await pair.client.look()).status.at(-1).code === "moved");
      await until("and left", async () => (await pair.look()).master.left === "replaced");
    });
  });

for (const name of names)
  test(`a master, at a client in ${name}`, async (t) => {
    const network = await makeNetwork(t);
    const phone = await network.phone();
    const [moss, atBox, onPhone] = await Promise.all([
      startServer(t, network),
      startBrowsers(t, network.box, ["Chromium"]),
      startBrowsers(t, phone.netns, [name]),
    ]);
    const client = await onPhone(name, moss, { role: "client", name: "honest", media: true });
    const { tab } = await atBox("Chromium", moss, { page: "stranger" });
    await tab.evaluate(`beMaster(${JSON.stringify(SECRET)}).then((known) => { window.known = known; })`);
    await until("the master has sent everything", async () => {
      const { done, called } = await tab.evaluate("known");
      // moss may have closed this master's connection before it was called.
      return done && (called || (await client.look()).watches[0].path === "no-master");
    });
    await client.share("camera", false);
    await client.share("camera", true);
    const { errors, open, made } = await client.look();
    assert.deepEqual(errors, []);
    assert.ok(open <= 1 && made < AFFORDABLE, `${open} of ${made} lines are open`);

    const master = await atBox("Chromium", moss, { ...masterOptions, media: true });
    await new Pair(client, master).flows();
    assert.deepEqual((await client.look()).errors, []);
  });
