// Thirty phones, as at a party.

import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../harness.js";
import { makeNetwork } from "./network.js";
import { masterOptions, Pair, startBrowsers, startServer } from "./players.js";

const GUESTS = 30;

test(`${GUESTS} clients call at once, reload at once, and get another master at once`, async (t) => {
  const network = await makeNetwork(t);
  const { netns } = await network.phone();
  const [moss, atBox, onPhones] = await Promise.all([
    startServer(t, network),
    startBrowsers(t, network.box, ["Chromium"]),
    startBrowsers(t, netns, ["Chromium"], { args: ["--renderer-process-limit=4"] }),
  ]);
  const options = { every: 500 };
  const clients = [];
  const enter = async (number) => clients.push(await onPhones("Chromium", moss, { role: "client", ...options, name: `guest ${number}` }));
  // A real party has thirty machines to load thirty pages.
  for (let number = 0; number < GUESTS; number += 5) await Promise.all([0, 1, 2, 3, 4].map((more) => enter(number + more)));
  const master = await atBox("Chromium", moss, { ...masterOptions, ...options }); // All clients wait for this one.
  const everybodyTalks = () => Promise.all(clients.map((client) => new Pair(client, master).flows({ kinds: ["messages"], some: 2 })));
  const present = ({ watches }) => watches.filter(({ left }) => !left);
  const keys = (seen) => present(seen).map(({ name, key }) => `${name}: ${key}`).sort();

  await everybodyTalks();
  const first = await master.look();
  assert.equal(present(first).length, GUESTS);
  assert.equal(new Set(present(first).map(({ key }) => key)).size, GUESTS);

  await t.test("a client that reloads is the same member", async () => {
    await Promise.all(clients.map((client) => client.reload()));
    await everybodyTalks();
    await until("the old lives are over", async () => present(await master.look()).length === GUESTS);
    const second = await master.look();
    assert.deepEqual(keys(second), keys(first));
    assert.equal(second.watches.length, 2 * GUESTS, "each joined twice");
    assert.equal(second.open, GUESTS, "no RTCPeerConnection is left over");
  });

  await t.test("a new session of the master gets everybody", async () => {
    await master.reload();
    await everybodyTalks();
    const third = await master.look();
    assert.deepEqual(keys(third), keys(first));
    assert.equal(third.watches.length, GUESTS);
    assert.equal(third.open, GUESTS);
    for (const client of clients) assert.equal((await client.look()).open, 1, "a client has one RTCPeerConnection");
  });

  for (const client of clients) await new Pair(client, master).isInOrder();
});
