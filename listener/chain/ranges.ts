import type { RangeRefusal } from "./provider-errors.ts";
import { RangeRefusedError } from "./source.ts";
import type { ChainSource, Log } from "./types.ts";

export type Range = { from: number; to: number; logs: Log[] };

/** Logs that one answer should hold: large enough to be worth the trip, small enough for the memory of both ends. */
const WANTED_LOGS = 2_000;
const FIRST_SPAN = 20;
const MAX_SPAN = 1_000_000;
/** Ranges that succeed before a stated cap is tried again. */
const PROBE_AFTER = 50;

/** Blocks in order, and the node's answer where it was asked for already. */
type Stretch = { from: number; to: number; answer?: Promise<Log[]> };

/**
 * Our logs of [from, to], range by range in order, several requests in flight. How many blocks a range holds is found,
 * not configured: it grows while answers are small and shrinks when the node refuses, and a cap that a node stated is
 * tried again later, for providers change their plans. No range is larger than one answer.
 *
 * @throws RangeRefusedError when the node refuses a single block, which is its last word, or does not have the range
 */
export async function* logRanges(source: ChainSource, from: number, to: number, inFlight = 3): AsyncGenerator<Range> {
  const span = createSpan(source.maxRange);
  const ahead: Stretch[] = from <= to ? [{ from, to }] : [];
  for (let first = ahead[0]; first; first = ahead[0]) {
    for (let i = 0; i < Math.min(inFlight, ahead.length); i++) ask(source, ahead, i, span.blocks());
    const blocks = first.to - first.from + 1;
    try {
      const logs = await first.answer!;
      span.answered(blocks, logs.length);
      ahead.shift();
      yield { from: first.from, to: first.to, logs };
    } catch (error) {
      if (!(error instanceof RangeRefusedError) || blocks === 1) throw error;
      // No smaller range would do: whoever said that the chain goes so far has to be asked again.
      if (error.refusal.kind === "node behind") throw error;
      span.refused(blocks, error.refusal);
      delete first.answer;
    }
  }
}

/** Asks for the next stretch, no longer than `blocks`; what is beyond becomes a stretch of its own. */
function ask(source: ChainSource, ahead: Stretch[], i: number, blocks: number): void {
  const stretch = ahead[i]!;
  if (stretch.answer) return;
  const end = Math.min(stretch.to, stretch.from + blocks - 1);
  if (end < stretch.to) ahead.splice(i + 1, 0, { from: end + 1, to: stretch.to });
  stretch.to = end;
  stretch.answer = source.logsIn(stretch.from, end);
  // Awaited in its turn; until then a rejection must not count as unhandled.
  stretch.answer.catch(() => {});
}

function createSpan(max = MAX_SPAN) {
  let blocks = Math.min(FIRST_SPAN, max);
  let cap = max;
  let successes = 0;
  return {
    blocks: () => blocks,
    answered(span: number, logs: number) {
      if (++successes % PROBE_AFTER === 0) cap = Math.min(max, cap * 2);
      const fitting = logs === 0 ? span * 4 : Math.ceil((span * WANTED_LOGS) / logs);
      blocks = Math.max(1, Math.min(cap, fitting, span * 4));
    },
    refused(span: number, refusal: RangeRefusal) {
      const limit =
        refusal.kind === "cap stated"
          ? refusal.cap
          : refusal.kind === "range suggested"
            ? refusal.to - refusal.from + 1
            : Math.floor(span / 2);
      blocks = Math.max(1, Math.min(limit, span - 1));
      if (refusal.kind === "cap stated") cap = blocks;
      successes = 0;
    },
  };
}
