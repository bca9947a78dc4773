/** `0x` and lower-case hex. Block hashes are 32 bytes, addresses 20. */
export type Hex = string;

export type BlockRef = { number: number; hash: Hex };

/** A block header, as far as we use it. `timestamp` is in seconds. */
export type Header = BlockRef & { parentHash: Hex; timestamp: number; logsBloom: Hex };

/** A log as the node gave it. `blockTimestamp` (seconds) is there where the node puts it into its logs. */
export type Log = {
  blockNumber: number;
  blockHash: Hex;
  blockTimestamp: number | undefined;
  transactionHash: Hex;
  transactionIndex: number;
  logIndex: number;
  address: Hex;
  topics: Hex[];
  data: Hex;
};

/**
 * Which logs we ask for: any of these addresses with any of these first topics. A node cannot be asked for less; `wants`
 * says which of them are ours, where that is not all.
 */
export type LogFilter = { addresses: readonly Hex[]; topics: readonly Hex[]; wants?: (log: Log) => boolean };

/**
 * What happens to our view of the chain, as data.
 *
 * `extend`: `headers` follow the tip in order. Up to the finalized block only those of blocks that hold logs, and the last
 * one of the range; above it every one, linked by parent hash. `logs` are all of ours in (tip, last header], in order.
 * `backfill` is there where the blocks are final, and the last header is then the finalized block: which blocks are read so in all.
 * `reorg`: the blocks above `ancestor` are gone (all of ours, where it is undefined); `removed` newest first.
 * `finalize`: `block`, at or below the tip, is final.
 */
export type ChainUpdate =
  | { type: "extend"; headers: Header[]; logs: Log[]; head: number; seenAt: Date; backfill?: { from: number; to: number } }
  | { type: "reorg"; ancestor: BlockRef | undefined; removed: BlockRef[] }
  | { type: "finalize"; block: BlockRef };

/** What `follow` starts from: the blocks that the journal holds, from the finalized one (or the first) to the tip. */
export type Checkpoint = { start: number; finalized: BlockRef | undefined; blocks: BlockRef[] };

/** A node, or several that stand for one chain. Every call retries transient faults by itself and honours the signal. */
export interface ChainSource {
  /** The newest block that the node admits to. */
  head(): Promise<Header>;
  /** The newest final block, or undefined where there is none yet. */
  finalized(head: Header): Promise<BlockRef | undefined>;
  headerByHash(hash: Hex): Promise<Header | undefined>;
  headerByNumber(number: number): Promise<Header | undefined>;
  /** Canonical headers at these numbers, in the same order; undefined where the node has none. */
  headers(numbers: readonly number[]): Promise<(Header | undefined)[]>;
  /** Our logs of the one block with this hash. Throws `UnknownBlockError` where the node does not know it (any more). */
  logsOf(block: Header): Promise<Log[]>;
  /** Our logs in [from, to], in order. Throws `RangeRefusedError` where the node wants a smaller range. */
  logsIn(from: number, to: number): Promise<Log[]>;
  /** Blocks that one `logsIn` should cover at most, where each of them is worth a call or more. */
  maxRange?: number;
  /** Resolves when there may be something new: a subscription fired or the poll interval passed. */
  changed(): Promise<void>;
}
