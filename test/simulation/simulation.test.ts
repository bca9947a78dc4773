import assert from "node:assert/strict";
import { test } from "node:test";
import { newSeed } from "../../scripts/support/random.ts";
import { again, STEPS_PER_SEED, simulateSeeds } from "./seeds.ts";

test("is right again after any schedule of blocks, reorgs, crashes, bad nodes and lost jobs", async t => {
  const first = newSeed();
  t.diagnostic(`seeds from ${first} on`);
  const seen = { seeds: 0, commits: 0, reorgs: 0, deaths: 0 };
  const failed: string[] = [];
  await simulateSeeds({
    first,
    count: 12,
    steps: STEPS_PER_SEED,
    onSimulated(simulated) {
      seen.seeds += 1;
      for (const kind of ["commits", "reorgs", "deaths"] as const) seen[kind] += simulated[kind];
      if (simulated.first) failed.push(`${again(simulated.seed, STEPS_PER_SEED)}: ${simulated.first}`);
    },
  });
  assert.deepEqual(failed, []);
  assert.equal(seen.seeds, 12);
  assert.ok(seen.commits > 100 && seen.reorgs > 10 && seen.deaths > 0, `too little happened: ${JSON.stringify(seen)}`);
});
