// Restarts and failures of moss during calls do not affect the calls.

import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../harness.js";
import { makeNetwork } from "./network.js";
import { everyPair, interrupted, pass } from "./players.js";

/** Both sides must still have the same RTCPeerConnections. */
async function sameLines(pairs, before) {
  for (const [number, pair] of pairs.entries()) {
    const now = await pair.look();
    for (const side of ["client", "master"]) {
      const facts = ({ [side]: { connections, number }, pages }) => ({ connections, number, made: pages[side].made });
      assert.deepEqual(facts(now), facts(before[number]), `${pair.label}: the line of the ${side}`);
    }
    await pair.isInOrder();
  }
}

test("calls go on", async (t) => {
  const { mosses, pairs } = await everyPair(t, await makeNetwork(t));
  const all = (what) => Promise.all(mosses.map(what));
  /** Waits until all peers have logged in again. */
  const back = async (before) => {
    for (const [number, pair] of pairs.entries())
      await until("both are logged in again", async () => {
        const { pages } = await pair.look();
        return ["client", "master"].every((side) => {
          const { status } = pages[side];
          return status.length > before[number].pages[side].status.length && status.at(-1).state === "ready";
        });
      });
  };
  const goesOn = (name, what) =>
    t.test(name, async (t) => {
      const before = await Promise.all(pairs.map((pair) => pair.look()));
      await interrupted(t, name, pairs, async () => {
        await what();
        await back(before);
      });
      await sameLines(pairs, before);
    });

  await goesOn("while moss is killed and started again", () =>
    all(async (moss) => {
      await moss.kill();
      await moss.again();
    }));
  await goesOn("while moss is frozen for 40 seconds", async () => {
    all((moss) => moss.signal("SIGSTOP"));
    await pass(40);
    all((moss) => moss.signal("SIGCONT"));
  });
  await goesOn("while moss is gone for a minute", async () => {
    await all((moss) => moss.stop());
    await pass(60);
    await all((moss) => moss.again());
  });
});
