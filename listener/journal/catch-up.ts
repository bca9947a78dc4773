import type { ContractAt } from "../chain/events.ts";
import { finalLogs, isNodeFault } from "../chain/follow.ts";
import type { ChainSource, Hex, LogFilter } from "../chain/types.ts";
import type { Db } from "../db.ts";
import { describe } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Journal } from "./journal.ts";

export type CatchUpOptions = {
  db: Db;
  chainId: number;
  journal: Journal;
  contracts: readonly ContractAt[];
  /** A source for other logs than the ones followed. */
  sourceFor(filter: LogFilter): ChainSource;
  log: Log;
};

type Known = { address: Hex; start_block: number; topics: Hex[]; included_to: number | null };

/**
 * Brings in what the journal has passed without looking: the past of a contract that joined later, of an event that an
 * ABI gained, of either that left and came back, of a queue that is new. Up to the finalized block that past is read by ranges; what lies above it is taken
 * back first, as by a reorg, and followed again with everything in view.
 */
export async function catchUp({ db, chainId, journal, contracts, sourceFor, log }: CatchUpOptions): Promise<void> {
  const { rows } = await db.query<Known>("select address, start_block, topics, included_to from contracts where chain_id = $1", [chainId]);
  const known = new Map(rows.map(row => [row.address, row]));
  await forgetUnfollowed(rows, contracts, journal);
  for (const { name, address, decoders } of contracts) {
    const contract = known.get(address);
    const topics = decoders.map(({ topic }) => topic);
    const missing = topics.filter(topic => !contract?.topics.includes(topic));
    if (!contract || missing.length === 0) continue;

    const { finalized, blocks } = await journal.checkpoint();
    const removed = blocks.filter(block => block.number > (finalized?.number ?? -1)).reverse();
    if (removed.some(block => block.number >= contract.start_block)) await journal.record({ type: "reorg", ancestor: finalized, removed });
    const from = (contract.included_to ?? contract.start_block - 1) + 1;
    if (finalized && from <= finalized.number) {
      log.info({ contract: name, from, to: finalized.number }, "reading the past of a contract or event that joined later");
      await includePast(journal, sourceFor({ addresses: [address], topics: missing }), { address, from, to: finalized.number, log });
    }
    await journal.include(address, [], { topics });
  }
  await journal.checkpoint();
  await journal.fillQueues();
}

async function includePast(
  journal: Journal,
  source: ChainSource,
  { address, from, to, log }: { address: Hex; from: number; to: number; log: Log },
): Promise<void> {
  for (let next = from; next <= to; ) {
    try {
      for await (const range of finalLogs(source, next, to)) {
        await journal.include(address, range.logs, { includedTo: range.to });
        next = range.to + 1;
      }
    } catch (error) {
      if (!isNodeFault(error)) throw error;
      log.warn({ reason: describe(error), block: next }, "the node's answers do not hold; asking again");
      await source.changed();
    }
  }
}

/** What is not followed any more has a gap from now on: should it come back, its past is read again. */
async function forgetUnfollowed(rows: readonly Known[], contracts: readonly ContractAt[], journal: Journal): Promise<void> {
  const followed = new Map(contracts.map(({ address, decoders }) => [address, new Set(decoders.map(({ topic }) => topic))]));
  await journal.checkpoint();
  for (const { address, topics } of rows) {
    const kept = topics.filter(topic => followed.get(address)?.has(topic));
    if (kept.length < topics.length) await journal.include(address, [], { topics: kept });
  }
}
