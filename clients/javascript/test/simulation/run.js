/**
 * Runs the simulation from a shell:
 *
 *     node test/simulation/run.js --seed 7          one seed, with a trace
 *     node test/simulation/run.js --seeds 5000      many seeds, from --from on (by default a random seed)
 *     node test/simulation/run.js --minutes 10      for this time
 *
 * It stops at the first failure, unless --keep-going is given.
 */
import { parseArgs } from "node:util";
import { play } from "./play.js";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string" },
    minutes: { type: "string" },
    from: { type: "string" },
    "keep-going": { type: "boolean" },
  },
});

if (values.seed) {
  const took = await play(Number(values.seed), { trace: (line) => process.stdout.write(`${line}\n`) });
  console.log(`all was well after ${took / 1000} s`);
} else if (values.seeds || values.minutes) {
  await many();
} else {
  console.log("--seed N, --seeds N or --minutes N");
}

async function many() {
  const first = Number(values.from ?? Math.floor(Math.random() * 1e9));
  const end = Date.now() + Number(values.minutes ?? Infinity) * 60_000;
  const most = Number(values.seeds ?? Infinity);
  let failed = 0;
  let longest = 0;
  let seed = first;
  for (; seed - first < most && Date.now() < end; seed++) {
    try {
      longest = Math.max(longest, await play(seed));
    } catch (error) {
      failed += 1;
      console.log(error.message);
      if (!values["keep-going"]) break;
    }
  }
  console.log(`seeds ${first} to ${seed - 1}: ${failed} failed; at most ${longest / 1000} s until all was well`);
  process.exitCode = failed ? 1 : 0;
}
