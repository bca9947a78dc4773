import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { classifyRefusal } from "../../../listener/chain/provider-errors.ts";
import { logRanges, type Range } from "../../../listener/chain/ranges.ts";
import { RangeRefusedError } from "../../../listener/chain/source.ts";
import type { ChainSource, Log } from "../../../listener/chain/types.ts";

type Asked = { from: number; to: number };

/** A node that answers `logsIn` by this rule, and remembers what it was asked. A string refuses, in a provider's words. */
function node(answer: (from: number, to: number) => number | string | Promise<number | string>) {
  const asked: Asked[] = [];
  const source = {
    async logsIn(from: number, to: number): Promise<Log[]> {
      asked.push({ from, to });
      const given = await answer(from, to);
      if (typeof given === "string") throw new RangeRefusedError(classifyRefusal(given), new Error(given));
      return Array.from({ length: given }, (_, i) => ({ blockNumber: from + (i % (to - from + 1)) }) as Log);
    },
  } as unknown as ChainSource;
  return { source, asked };
}

const all = async (ranges: AsyncGenerator<Range>) => {
  const found: Range[] = [];
  for await (const range of ranges) found.push(range);
  return found;
};
const spans = (asked: readonly Asked[]) => asked.map(({ from, to }) => to - from + 1);

describe("ranges", () => {
  it("covers every block once, in order, whatever the node refuses", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 50 }),
        fc.integer({ min: 1, max: 3_000 }),
        fc.integer({ min: 1, max: 700 }),
        async (from, length, cap) => {
          const to = from + length - 1;
          const { source } = node((a, b) => (b - a + 1 > cap ? "something unheard of" : 1));
          const ranges = await all(logRanges(source, from, to));
          let next = from;
          for (const range of ranges) {
            assert.equal(range.from, next);
            next = range.to + 1;
          }
          assert.equal(next, to + 1);
        },
      ),
      { numRuns: 100 },
    );
  });

  it("gives ranges in order although a later one is answered first", async () => {
    const waiting: (() => void)[] = [];
    const { source } = node(async () => {
      await new Promise<void>(resolve => {
        waiting.unshift(resolve);
        if (waiting.length === 3) for (const answer of waiting.splice(0)) answer();
      });
      return 0;
    });
    const ranges = logRanges(source, 0, 59);
    assert.deepEqual(
      (await all(ranges)).map(({ from }) => from),
      [0, 20, 40],
    );
  });

  it("keeps a few requests in flight, never more", async () => {
    let flying = 0;
    let most = 0;
    const { source } = node(async () => {
      most = Math.max(most, ++flying);
      await new Promise(resolve => setImmediate(resolve));
      flying -= 1;
      return 2_000;
    });
    await all(logRanges(source, 0, 20_000));
    assert.equal(most, 3);
  });

  it("grows while the answers are small", async () => {
    const { source, asked } = node(() => 0);
    await all(logRanges(source, 0, 5_000_000, 1));
    assert.deepEqual(spans(asked).slice(0, 4), [20, 80, 320, 1_280]);
    assert.equal(Math.max(...spans(asked)), 1_000_000);
  });

  it("shrinks where the logs are dense", async () => {
    const { source, asked } = node((from, to) => (to - from + 1) * 100);
    await all(logRanges(source, 0, 5_000, 1));
    assert.deepEqual(spans(asked).slice(1, 4), [20, 20, 20]);
  });

  it("stays below a cap that the node stated", async () => {
    const { source, asked } = node((from, to) => (to - from + 1 > 100 ? "maximum block range: 100" : 0));
    await all(logRanges(source, 0, 2_000, 1));
    assert.deepEqual(spans(asked).slice(0, 5), [20, 80, 320, 100, 100]);
    assert.equal(spans(asked).filter(span => span > 100).length, 1);
  });

  it("tries a stated cap again later, for plans change", async () => {
    let limited = true;
    const { source, asked } = node((from, to) => (limited && to - from + 1 > 100 ? "maximum block range: 100" : 0));
    for await (const { from } of logRanges(source, 0, 100_000, 1)) if (from > 3_000) limited = false;
    assert.ok(Math.max(...spans(asked)) > 500, "the cap was left behind");
  });

  it("takes the range that the node suggests", async () => {
    const { source, asked } = node((from, to) => (to - from + 1 > 7 ? "query exceeds max results, retry with the range 0-6" : 1));
    await all(logRanges(source, 0, 27, 1));
    assert.deepEqual(asked[1], { from: 0, to: 6 });
  });

  it("is not fooled by a suggestion that is as large as what was refused", async () => {
    const { source } = node((from, to) => (to - from + 1 > 3 ? "this block range should work: [0x0, 0xffffff]" : 1));
    const ranges = await all(logRanges(source, 0, 40, 1));
    assert.equal(ranges.at(-1)!.to, 40);
  });

  it("splits down to a single block, and gives up only there", async () => {
    const { source, asked } = node((from, to) => (from <= 13 && to >= 13 ? "unheard of" : 1));
    await assert.rejects(all(logRanges(source, 0, 100, 1)), RangeRefusedError);
    assert.deepEqual(asked.at(-1), { from: 13, to: 13 });
  });

  it("keeps the logs of a split range in the order of the chain", async () => {
    const { source } = node((from, to) => (to - from + 1 > 10 ? "query returned more than 10000 results" : to - from + 1));
    const ranges = await all(logRanges(source, 0, 99, 1));
    assert.deepEqual(
      ranges.flatMap(({ logs }) => logs).map(({ blockNumber }) => blockNumber),
      Array.from({ length: 100 }, (_, i) => i),
    );
  });
});
