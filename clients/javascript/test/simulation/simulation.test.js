import assert from "node:assert/strict";
import { test } from "node:test";
import { play } from "./play.js";

/**
 * SIMULATION_FIRST and SIMULATION_SEEDS choose other seeds. To run a failing seed with a trace:
 * `node test/simulation/run.js --seed N`.
 */
const first = Number(process.env.SIMULATION_FIRST ?? Math.floor(Math.random() * 1e9));
const seeds = Number(process.env.SIMULATION_SEEDS ?? 100);

test(`calls recover after faults: ${seeds} seeds from ${first}`, { timeout: 1_200_000 }, async (t) => {
  t.diagnostic(`the first seed is ${first}`);
  const failures = [];
  for (let seed = first; seed < first + seeds; seed++) await play(seed).catch((error) => failures.push(error.message));
  assert.deepEqual(failures, []);
});
