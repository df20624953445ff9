// Faults of a phone's network during calls: an outage that nobody is notified of, and a change of the phone's address.

import { test } from "node:test";
import { makeNetwork } from "./network.js";
import { everyPair, interrupted, pass } from "./players.js";

test("calls recover, and each message arrives once and in order", async (t) => {
  const { phones, pairs } = await everyPair(t, await makeNetwork(t), { found: true });
  const all = (what) => Promise.all(phones.map(what));
  const comesBack = (name, during) =>
    t.test(name, async (t) => {
      await interrupted(t, name, pairs, during);
      for (const pair of pairs) await pair.isInOrder();
    });

  for (const seconds of [5, 20, 60])
    await comesBack(`after ${seconds} seconds in which nothing got through`, async () => {
      await all((phone) => phone.lose());
      await pass(seconds);
      await all((phone) => phone.find());
    });
  await comesBack("after the phone went from Wi-Fi to the mobile network", () => all((phone) => phone.leaveTheWifi()));
});
