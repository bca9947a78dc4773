import type { Verify } from "../config.ts";
import { BadAnswerError } from "../errors.ts";
import type { Log as Logger } from "../log.ts";
import { parseLogs, toHex } from "./answers.ts";
import { checkAgainstProof, proveLogs } from "./proof.ts";
import type { CallOptions, Rpc } from "./rpc.ts";
import type { Header, Log, LogFilter } from "./types.ts";
import { checkBlock, checkLogs, promises } from "./verify.ts";

/** How logs are read, and how far they are believed. Failures are those of `Rpc.call`. */
export interface LogReader {
  /** Our logs of this block, in order; undefined where no node knows it (any more). */
  ofBlock(header: Header): Promise<Log[] | undefined>;
  /**
   * Our logs in [from, to], in order, all of it final. `keep` gets the headers that they were held against: of blocks with
   * logs, and of the range's ends where those were read.
   */
  ofRange(from: number, to: number, keep: (header: Header) => void): Promise<Log[]>;
  maxRange?: number;
}

export type ReaderOptions = {
  rpc: Rpc;
  filter: LogFilter;
  log: Logger;
  /** The number of the newest head that was seen; 0 before the first. */
  head(): number;
  /** The canonical headers at these numbers, each known; `linked`: each the parent of the next. */
  headers(numbers: readonly number[], linked: boolean): Promise<Header[]>;
};

export const logReader = (verify: Verify, options: ReaderOptions): LogReader => READERS[verify](options);

const READERS: Record<Verify, (options: ReaderOptions) => LogReader> = { off: plainReader, bloom: bloomReader, receipts: receiptsReader };

function logsGetter({ rpc, filter }: ReaderOptions) {
  return <T>(where: object, options: CallOptions<T>): Promise<T> =>
    rpc.call("eth_getLogs", [{ ...where, address: filter.addresses, topics: [filter.topics] }], options);
}

/** Blocks of a range that is read header by header: what was read is lost when one of them fails. */
const HEADERS_RANGE = 5_000;
/** The same, where there is more to read of each. */
const PROVEN_RANGE = 500;

/**
 * How far below the head every block of a range is held against its bloom. That is a call per block, where the logs are one
 * for thousands: without an end, years of a fast chain would take days to read. Below, only blocks with logs are.
 */
const BLOOM_DEPTH = 1_000_000;

/** Believes what fits the question: our addresses and topics, blocks of the range, each place once. */
function plainReader(options: ReaderOptions): LogReader {
  const getLogs = logsGetter(options);
  const parse = (answer: unknown, from: number, to: number) => checkLogs(parseLogs(answer), options.filter, from, to);
  return {
    ofBlock: ({ hash, number }) => getLogs({ blockHash: hash }, { exists: true, check: answer => parse(answer, number, number) }),
    ofRange: (from, to) => getLogs({ fromBlock: toHex(from), toBlock: toHex(to) }, { knows: to, check: answer => parse(answer, from, to) }),
  };
}

/** Blocks whose promise was not kept that are asked for again at once. */
const DOUBTS_AT_ONCE = 8;

/**
 * Holds logs against the blooms of their blocks, every block's, also in a range (to `BLOOM_DEPTH`): a log that a bloom does not admit is a lie,
 * and a block without any of ours whose bloom promises one is asked for again by its hash, of another node where there is
 * one. What a bloom cannot tell: that a log is missing beside another one of ours, or that its data is another.
 */
function bloomReader(options: ReaderOptions): LogReader {
  const { rpc, filter, log, headers } = options;
  const getLogs = logsGetter(options);

  const ask = (header: Header, avoid?: string) =>
    getLogs(
      { blockHash: header.hash },
      {
        exists: true,
        avoid,
        check(answer, node) {
          const logs = checkLogs(parseLogs(answer), filter, header.number, header.number);
          return { logs, node, missing: checkBlock(header, logs, filter).promisedButMissing };
        },
      },
    );
  /** The logs of a block whose bloom promises one, after `first` answered that there is none: it may be a false promise. */
  const askAgain = async (header: Header, first: string) => {
    log.debug({ block: header.number }, "the bloom promises an event that the answer lacks; asking again");
    const { logs, missing } = await ask(header, first);
    // Also where the same node says something else by the block's hash: its first answer was not the whole one.
    if (!missing) rpc.accuse(first, "eth_getLogs", `hid the logs of block ${header.number}`);
    return logs;
  };
  /** Which of these blocks hold logs, and which do not though their bloom promises one. Throws where one contradicts its logs. */
  const compare = (all: readonly Header[], logs: readonly Log[]) => {
    const byBlock = Map.groupBy(logs, log => log.blockNumber);
    const doubtful = all.filter(header => checkBlock(header, byBlock.get(header.number) ?? [], filter).promisedButMissing);
    return { doubtful, told: all.filter(({ number }) => byBlock.has(number)) };
  };

  /** What contradicts these logs shows that this node lied: the range is read anew, of another one if there is one. */
  const blaming = <T>(node: string, read: () => T): T => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof BadAnswerError)) throw error;
      rpc.accuse(node, "eth_getLogs", error.message);
      throw new BadAnswerError(`${node}: ${error.message}`, { node });
    }
  };

  return {
    maxRange: HEADERS_RANGE,
    async ofBlock(header) {
      const first = await ask(header);
      return first.missing ? askAgain(header, first.node) : first.logs;
    },
    async ofRange(from, to, keep) {
      // The logs first: a range that is refused costs no headers.
      const where = { fromBlock: toHex(from), toBlock: toHex(to) };
      const { logs, node } = await getLogs(where, {
        knows: to,
        check: (answer, node) => ({ logs: checkLogs(parseLogs(answer), filter, from, to), node }),
      });
      const every = to > options.head() - BLOOM_DEPTH;
      const all = await headers(every ? numbersOf(from, to) : [...new Set(logs.map(log => log.blockNumber))], every);
      const { doubtful, told } = blaming(node, () => compare(all, logs));
      const found: Log[] = [];
      for (let i = 0; i < doubtful.length; i += DOUBTS_AT_ONCE) {
        found.push(...(await Promise.all(doubtful.slice(i, i + DOUBTS_AT_ONCE).map(header => askAgain(header, node)))).flat());
      }
      for (const header of every ? [...told, all[0]!, all.at(-1)!] : told) keep(header);
      return found.length === 0 ? logs : checkLogs([...logs, ...found], filter, from, to);
    },
  };
}

/** Blocks that are proven at once: two calls each, and the memory of their transactions and receipts. */
const PROOFS_AT_ONCE = 8;

/**
 * Takes logs from proven receipts alone. Every header is read and linked to the one before it; the receipts of a block are
 * read where its proven bloom promises one of our events, for where it does not there is none. What `eth_getLogs` says is
 * held against that, so that a node which hides, invents or alters a log is known for it.
 *
 * What no node can be held to: that the blocks, complete and linked as they are, are those of the chain. That takes a
 * consensus client, or a second node.
 */
function receiptsReader(options: ReaderOptions): LogReader {
  const { rpc, filter, headers } = options;
  const getLogs = logsGetter(options);
  const addresses = new Set(filter.addresses);
  const topics = new Set(filter.topics);
  const proveOurs = async (header: Header) => {
    const logs = await proveLogs(rpc, header.hash);
    return logs?.filter(({ address, topics: [topic] }) => addresses.has(address) && topics.has(topic ?? ""));
  };
  const proveKnown = async (header: Header) => {
    const logs = await proveOurs(header);
    if (!logs) throw new BadAnswerError(`the nodes lost block ${header.number} ${header.hash}, which was final`);
    return logs;
  };
  const compare = (where: object, from: number, to: number, proven: readonly Log[], options: { exists?: true; knows?: number }) =>
    getLogs(where, { ...options, check: answer => checkAgainstProof(checkLogs(parseLogs(answer), filter, from, to), proven) });

  return {
    maxRange: PROVEN_RANGE,
    async ofBlock(header) {
      if (!promises(header, filter)) return [];
      const proven = await proveOurs(header);
      if (proven) await compare({ blockHash: header.hash }, header.number, header.number, proven, { exists: true });
      return proven;
    },
    async ofRange(from, to, keep) {
      const proven: Log[] = [];
      const all = await headers(numbersOf(from, to), true);
      const worth = all.filter(header => promises(header, filter));
      for (let i = 0; i < worth.length; i += PROOFS_AT_ONCE) {
        proven.push(...(await Promise.all(worth.slice(i, i + PROOFS_AT_ONCE).map(proveKnown))).flat());
      }
      for (const header of [...worth, all[0]!, all.at(-1)!]) keep(header);
      await compare({ fromBlock: toHex(from), toBlock: toHex(to) }, from, to, proven, { knows: to });
      return proven;
    },
  };
}

const numbersOf = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
