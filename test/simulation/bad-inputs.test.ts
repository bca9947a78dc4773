import assert from "node:assert/strict";
import { test } from "node:test";
import { newSeed } from "../../scripts/support/random.ts";
import { run } from "./bad-inputs.ts";

test("stores and shows hostile events, and answers every question", async t => {
  const seed = newSeed();
  t.diagnostic(`seed ${seed}`);
  const lines: string[] = [];
  const row = await run({ times: 100, seed, log: line => lines.push(line) });
  assert.deepEqual([row.times, row.lost, row.doubled, row.wrong, lines], [100, 0, 0, 0, []], `seed ${seed}`);
});
