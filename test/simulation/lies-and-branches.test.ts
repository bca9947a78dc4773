import assert from "node:assert/strict";
import { test } from "node:test";
import { newSeed } from "../../scripts/support/random.ts";
import { run as backAndForth } from "./back-and-forth.ts";
import { inBloom, inReceipts } from "./lying.ts";

for (const [title, run, times] of [
  ["catches a node that drops, adds, alters or swaps a log, by the receipts", inReceipts, 12],
  ["catches a node that lies, as far as a bloom can tell", inBloom, 8],
  ["is right after a branch was replaced and came back", backAndForth, 10],
] as const) {
  test(title, async t => {
    const seed = newSeed();
    t.diagnostic(`seed ${seed}`);
    const lines: string[] = [];
    const row = await run({ times, seed, log: line => lines.push(line) });
    assert.deepEqual([row.times, row.lost, row.doubled, row.wrong, lines], [times, 0, 0, 0, []], `seed ${seed}`);
  });
}
