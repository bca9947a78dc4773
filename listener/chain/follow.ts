import { BadAnswerError, describe, ReorgPastFinalityError } from "../errors.ts";
import type { Log as Logger } from "../log.ts";
import { logRanges, type Range } from "./ranges.ts";
import { RpcError } from "./rpc.ts";
import { RangeRefusedError, UnknownBlockError } from "./source.ts";
import type { BlockRef, ChainSource, ChainUpdate, Checkpoint, Header, Hex, Log } from "./types.ts";

/** Blocks that one update carries while catching up above the finalized block. */
const STEP = 64;
/** A finalized block this far ahead is reached by ranges, a nearer one block by block. */
const WORTH_A_BACKFILL = 2 * STEP;
/** Faults of the node in a row after which it is said aloud. */
const PATIENCE = 3;
/** Looks in a row at which a final block must be another one before that is believed: one node's word is not enough. */
const CERTAINTY = 3;

/**
 * Follows a chain from a checkpoint, for ever: ranges up to the finalized block, then the head.
 *
 * A gap and a reorg are one case. From a new head the parents are walked until a block that we know: what we hold above
 * it is removed, what was walked is added. A head that is lower than our tip, or another block at a height that we have,
 * is only suspect: a reorg is declared when the block that the node now gives at our own tip's number has another hash.
 *
 * What is yielded must be committed before the next call: only then does the follower's own memory move.
 *
 * @throws ReorgPastFinalityError when the chain replaced a block at or below the finalized one, and stays with it
 */
export async function* follow(source: ChainSource, checkpoint: Checkpoint, log: Logger): AsyncGenerator<ChainUpdate, never> {
  const known = createKnown(checkpoint);
  let faults = 0;
  let replaced = 0;
  for (;;) {
    try {
      yield* advance(source, known);
      faults = 0;
      replaced = 0;
    } catch (error) {
      // Nothing was yielded of it: look again.
      if (error instanceof ReorgPastFinalityError) {
        if (++replaced === CERTAINTY) throw error;
        log.warn({ block: error.block, reason: describe(error) }, "looking again");
      } else if (!isNodeFault(error)) throw error;
      else if (++faults === PATIENCE) log.warn({ reason: describe(error) }, "the node's answers do not hold; asking again");
    }
    await source.changed();
  }
}

/** The node contradicts itself, lost a block while we asked for it, or fails at what it should be able to answer. */
export const isNodeFault = (error: unknown): boolean =>
  error instanceof BadAnswerError || error instanceof UnknownBlockError || error instanceof RangeRefusedError || error instanceof RpcError;

/** One look at the head, and every update that it leads to. */
async function* advance(source: ChainSource, known: Known): AsyncGenerator<ChainUpdate, void> {
  const head = await source.head();
  const seenAt = new Date();
  // Asked for beside the logs, unless what is final may be so far ahead that it is reached by ranges.
  const finality = source.finalized(head);
  finality.catch(() => {});
  const far = head.number - known.next() >= WORTH_A_BACKFILL ? await finality : undefined;

  const tip = known.tip();
  if (tip && (head.number < tip.number || (head.number === tip.number && head.hash !== tip.hash))) {
    if (known.has(head)) return;
    const atOurTip = await source.headerByNumber(tip.number);
    if (!atOurTip || atOurTip.hash === tip.hash) return;
    yield* reach(source, known, atOurTip, { head: head.number, seenAt });
  } else if (far && far.number - known.next() >= WORTH_A_BACKFILL) {
    yield* takeBackOrphans(source, known);
    yield* backfill(source, known, far, { head: head.number, seenAt });
  }

  while (known.next() <= head.number) {
    const target = head.number - known.next() < STEP ? head : await source.headerByNumber(known.next() + STEP - 1);
    if (!target) return;
    yield* reach(source, known, target, { head: head.number, seenAt });
  }

  const final = await finality;
  const finalized = final && known.at(final.number);
  if (finalized && finalized.hash === final.hash && finalized.number > (known.finalized()?.number ?? -1)) {
    yield { type: "finalize", block: finalized };
    known.finalize(finalized);
  }
}

/** Goes to `target`, a header above or beside the tip: walks its parents to a block that we know, then adds the way back. */
async function* reach(
  source: ChainSource,
  known: Known,
  target: Header,
  seen: { head: number; seenAt: Date },
): AsyncGenerator<ChainUpdate, void> {
  const { ancestor, walked } = await walk(source, known, target);
  const logs = await Promise.all(walked.map(header => source.logsOf(header)));
  const removed = known.above(ancestor);
  if (removed.length > 0) {
    yield { type: "reorg", ancestor, removed };
    known.remove(removed.length);
  }
  if (walked.length > 0) {
    yield { type: "extend", headers: walked, logs: withTimestamps(logs.flat(), walked), ...seen };
    known.add(walked);
  }
}

/** The headers from `target` down to, and without, the first that we know. */
async function walk(source: ChainSource, known: Known, target: Header): Promise<{ ancestor: BlockRef | undefined; walked: Header[] }> {
  const first = known.next();
  const missing = Array.from({ length: Math.max(0, target.number - first) }, (_, i) => first + i);
  const byHash = new Map((await source.headers(missing)).flatMap(header => (header ? [[header.hash, header] as const] : [])));
  const walked: Header[] = [];
  for (let header = target; !known.has(header); ) {
    const final = known.finalized();
    if (final && header.number <= final.number) {
      throw new ReorgPastFinalityError(`the chain replaced block ${final.number} ${final.hash}, which was final`, final.number);
    }
    walked.unshift(header);
    if (header.number <= known.start) return { ancestor: undefined, walked };
    if (known.holds(header.parentHash)) break;
    const parent = byHash.get(header.parentHash) ?? (await source.headerByHash(header.parentHash));
    if (!parent) throw new UnknownBlockError({ number: header.number - 1, hash: header.parentHash });
    if (parent.number !== header.number - 1) throw new BadAnswerError(`the parent of block ${header.number} has number ${parent.number}`);
    header = parent;
  }
  const lowest = walked[0];
  return { ancestor: lowest ? known.at(lowest.number - 1) : target, walked };
}

/** Before ranges are fetched on top of it, the tip must be canonical: it may have been orphaned while nobody looked. */
async function* takeBackOrphans(source: ChainSource, known: Known): AsyncGenerator<ChainUpdate, void> {
  const tip = known.tip();
  if (!tip) return;
  const canonical = await source.headerByNumber(tip.number);
  if (!canonical) throw new UnknownBlockError(tip);
  if (canonical.hash !== tip.hash) yield* reach(source, known, canonical, { head: canonical.number, seenAt: new Date() });
}

/** Our logs of [from, to], all of it final, each range with its headers: see `headersFor`. */
export async function* finalLogs(source: ChainSource, from: number, to: number): AsyncGenerator<Range & { headers: Header[] }> {
  for await (const range of logRanges(source, from, to)) {
    const headers = await headersFor(source, range);
    yield { ...range, headers, logs: withTimestamps(range.logs, headers) };
  }
}

async function* backfill(
  source: ChainSource,
  known: Known,
  final: BlockRef,
  seen: { head: number; seenAt: Date },
): AsyncGenerator<ChainUpdate, void> {
  const range = { from: known.next(), to: final.number };
  for await (const { from, headers, logs } of finalLogs(source, range.from, range.to)) {
    const tip = known.tip();
    const [first] = tip ? await source.headers([from]) : [];
    if (tip && first?.parentHash !== tip.hash) throw new BadAnswerError(`block ${from} does not follow ${tip.number} ${tip.hash}`);
    const last = headers.at(-1)!;
    yield { type: "extend", headers, logs, ...seen, backfill: range };
    known.add([last]);
    known.finalize(last);
  }
}

/** The header of the range's last block, and of each block whose logs do not carry their timestamp. */
async function headersFor(source: ChainSource, { to, logs }: Range): Promise<Header[]> {
  const hashes = new Map(logs.map(log => [log.blockNumber, log.blockHash]));
  const numbers = new Set(logs.filter(log => log.blockTimestamp === undefined).map(log => log.blockNumber));
  const wanted = [...numbers.add(to)].sort((a, b) => a - b);
  const headers = await source.headers(wanted);
  return headers.map((header, i) => {
    const number = wanted[i]!;
    if (!header) throw new UnknownBlockError({ number, hash: hashes.get(number) ?? "" });
    if ((hashes.get(number) ?? header.hash) !== header.hash)
      throw new BadAnswerError(`the logs of block ${number} belong to another block`);
    return header;
  });
}

function withTimestamps(logs: Log[], headers: Header[]): Log[] {
  const timestamps = new Map(headers.map(header => [header.number, header.timestamp]));
  for (const log of logs) log.blockTimestamp ??= timestamps.get(log.blockNumber);
  return logs;
}

type Known = ReturnType<typeof createKnown>;

/** The blocks that the journal holds, oldest first, from the finalized one (or the first of ours) to the tip. */
function createKnown({ start, finalized, blocks }: Checkpoint) {
  const held = [...blocks];
  const hashes = new Set<Hex>(held.map(block => block.hash));
  let final = finalized;
  const tip = () => held.at(-1);
  return {
    start,
    tip,
    finalized: () => final,
    next: () => (tip() ? tip()!.number + 1 : start),
    has: (block: BlockRef) => hashes.has(block.hash),
    holds: (hash: Hex) => hashes.has(hash),
    at: (number: number): BlockRef | undefined => (held[0] ? held[number - held[0].number] : undefined),
    above: (ancestor: BlockRef | undefined): BlockRef[] => held.filter(block => block.number > (ancestor?.number ?? -1)).reverse(),
    add(headers: Header[]) {
      for (const { number, hash } of headers) {
        // A range leaves a gap below its last block, and what lies below a gap is final.
        if (tip() && number !== tip()!.number + 1) clear();
        held.push({ number, hash });
        hashes.add(hash);
      }
    },
    remove(count: number) {
      for (const { hash } of held.splice(held.length - count)) hashes.delete(hash);
    },
    finalize(block: BlockRef) {
      final = block;
      const first = held[0]?.number ?? 0;
      for (const { hash } of held.splice(0, Math.max(0, block.number - first))) hashes.delete(hash);
    },
  };
  function clear() {
    held.length = 0;
    hashes.clear();
  }
}
