import assert from "node:assert/strict";
import { test } from "node:test";
import { logRanges } from "../../../listener/chain/ranges.ts";
import { RangeRefusedError } from "../../../listener/chain/source.ts";
import type { ChainSource, Log } from "../../../listener/chain/types.ts";

const log = (blockNumber: number) => ({ blockNumber }) as Log;

/** A node that gives at most `most` logs: one per block from `busyFrom` on, none before. */
function nodeOf({ busyFrom, most }: { busyFrom: number; most: number }) {
  const asked: [number, number][] = [];
  const source = {
    async logsIn(from: number, to: number) {
      asked.push([from, to]);
      const first = Math.max(from, busyFrom);
      const count = Math.max(0, to - first + 1);
      if (count > most) throw new RangeRefusedError({ kind: "too dense" }, undefined);
      return Array.from({ length: count }, (_, i) => log(first + i));
    },
  } as unknown as ChainSource;
  return { source, asked };
}

test("hands on what the node gives, however wide the range was that it refused", async () => {
  const { source } = nodeOf({ busyFrom: 3_000_000, most: 10_000 });
  let next = 0;
  let logs = 0;
  let largest = 0;
  for await (const range of logRanges(source, 0, 3_600_000)) {
    assert.equal(range.from, next);
    next = range.to + 1;
    logs += range.logs.length;
    largest = Math.max(largest, range.logs.length);
  }
  assert.equal(next, 3_600_001);
  assert.equal(logs, 600_001);
  assert.ok(largest <= 10_000, `one range with ${largest} logs`);
});

test("does not ask again for what was answered", async () => {
  const { source, asked } = nodeOf({ busyFrom: 0, most: 400 });
  let blocks = 0;
  for await (const { from, to, logs } of logRanges(source, 0, 9_999)) {
    assert.equal(logs.length, to - from + 1);
    blocks += logs.length;
  }
  assert.equal(blocks, 10_000);
  const answered = asked.filter(([from, to]) => to - from < 400);
  assert.equal(new Set(answered.map(([from]) => from)).size, answered.length);
});

test("gives up where the node refuses a single block", async () => {
  const { source } = nodeOf({ busyFrom: 700, most: 0 });
  let last = -1;
  await assert.rejects(async () => {
    for await (const { to } of logRanges(source, 0, 2_000)) last = to;
  }, RangeRefusedError);
  assert.equal(last, 699);
});
