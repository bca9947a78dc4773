import assert from "node:assert/strict";
import { test } from "node:test";
import { newSeed } from "../../scripts/support/random.ts";
import { BAD_REPLIES, run } from "./bad-replies.ts";

test("follows the chain through every class of bad reply", async t => {
  const seed = newSeed();
  t.diagnostic(`seed ${seed}`);
  const lines: string[] = [];
  const row = await run({ times: BAD_REPLIES.length * 2, seed, log: line => lines.push(line) });
  assert.deepEqual([row.lost, row.doubled, row.wrong, lines], [0, 0, 0, []], `seed ${seed}`);
  assert.ok(row.settledSeconds < 10, `seed ${seed} settled in ${row.settledSeconds} s`);
});
