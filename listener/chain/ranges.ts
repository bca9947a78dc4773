import { RangeRefusedError } from "./source.ts";
import type { ChainSource, Log } from "./types.ts";

export type Range = { from: number; to: number; logs: Log[] };

/** Logs that one answer should hold: large enough to be worth the trip, small enough for the memory of both ends. */
const WANTED_LOGS = 5_000;
const FIRST_SPAN = 500;
const MAX_SPAN = 1_000_000;
/** Ranges that succeed before a stated cap is tried again. */
const PROBE_AFTER = 50;

/**
 * Our logs of [from, to], range by range in order, several requests in flight. How many blocks a range holds is found,
 * not configured: it grows while answers are small and shrinks when the node refuses, and a cap that a node stated is
 * tried again later, for providers change their plans.
 */
export async function* logRanges(source: ChainSource, from: number, to: number, inFlight = 3): AsyncGenerator<Range> {
  const span = createSpan();
  const pending: Promise<Range>[] = [];
  let next = from;
  while (next <= to || pending.length > 0) {
    while (next <= to && pending.length < inFlight) {
      const end = Math.min(to, next + span.blocks() - 1);
      const range = fetchRange(source, next, end, span);
      // Awaited in order below; until then a rejection must not count as unhandled.
      range.catch(() => {});
      pending.push(range);
      next = end + 1;
    }
    yield await pending.shift()!;
  }
}

type Span = ReturnType<typeof createSpan>;

function createSpan() {
  let blocks = FIRST_SPAN;
  let cap = MAX_SPAN;
  let successes = 0;
  return {
    blocks: () => blocks,
    answered(span: number, logs: number) {
      if (++successes % PROBE_AFTER === 0) cap = Math.min(MAX_SPAN, cap * 2);
      const fitting = logs === 0 ? span * 4 : Math.ceil((span * WANTED_LOGS) / logs);
      blocks = Math.max(1, Math.min(cap, fitting, span * 4, MAX_SPAN));
    },
    refused(span: number, limit: number, keep: boolean) {
      if (keep) cap = Math.max(1, limit);
      blocks = Math.max(1, Math.min(limit, Math.floor(span / 2) || 1));
      successes = 0;
    },
  };
}

/** One range, split for as long as the node refuses it. A single block that is refused is the node's last word. */
async function fetchRange(source: ChainSource, from: number, to: number, span: Span): Promise<Range> {
  const blocks = to - from + 1;
  try {
    const logs = await source.logsIn(from, to);
    span.answered(blocks, logs.length);
    return { from, to, logs };
  } catch (error) {
    if (!(error instanceof RangeRefusedError) || blocks === 1) throw error;
    const { refusal } = error;
    const limit =
      refusal.kind === "cap stated"
        ? refusal.cap
        : refusal.kind === "range suggested"
          ? refusal.to - refusal.from + 1
          : Math.floor(blocks / 2);
    const usable = Math.max(1, Math.min(limit, blocks - 1));
    span.refused(blocks, usable, refusal.kind === "cap stated");
    const logs: Log[] = [];
    for (let start = from; start <= to; start += usable) {
      const part = await fetchRange(source, start, Math.min(to, start + usable - 1), span);
      logs.push(...part.logs);
    }
    return { from, to, logs };
  }
}
