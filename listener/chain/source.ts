import type { Finality, Verify } from "../config.ts";
import { sleep } from "../db.ts";
import { BadAnswerError, SluiceError } from "../errors.ts";
import type { Log as Logger } from "../log.ts";
import { parseHeader, parseLogs, toHex } from "./answers.ts";
import { classifyRefusal, type RangeRefusal } from "./provider-errors.ts";
import { type CallOptions, type Rpc, RpcError } from "./rpc.ts";
import type { BlockRef, ChainSource, Header, Log, LogFilter } from "./types.ts";
import { checkBlock, checkLogs } from "./verify.ts";

/** The node wants a smaller range, and says so in one of the ways of `classifyRefusal`. */
export class RangeRefusedError extends SluiceError {
  readonly refusal: RangeRefusal;

  constructor(refusal: RangeRefusal, cause: unknown) {
    super(`the node refuses the range (${refusal.kind})`, { cause, retryable: true });
    this.refusal = refusal;
  }
}

/** The node does not know this block: it is behind, or the block was reorged out. */
export class UnknownBlockError extends SluiceError {
  constructor(block: BlockRef, cause?: unknown) {
    super(`the node does not know block ${block.number} ${block.hash}`, { retryable: true, cause });
  }
}

/** Blocks of headers asked for at once. */
const HEADERS_AT_ONCE = 16;

export type SourceOptions = {
  rpc: Rpc;
  filter: LogFilter;
  finality: Finality;
  verify: Verify;
  /** Milliseconds between polls of the head where no subscription wakes us earlier. */
  pollInterval: number;
  signal: AbortSignal;
  log: Logger;
};

/** A chain source on a JSON-RPC node. */
export function nodeSource({ rpc, filter, finality, verify, pollInterval, signal, log }: SourceOptions): ChainSource {
  let announced = false;
  let wake = () => {};
  rpc.onNewHead(() => {
    announced = true;
    wake();
  });

  const block = async (method: string, at: string, fits: (header: Header) => boolean): Promise<Header | undefined> => {
    try {
      const answer = await rpc.call<unknown>(method, [at, false]);
      if (answer === null) return undefined;
      const header = parseHeader(answer);
      if (!fits(header)) throw new BadAnswerError(`block ${header.number} ${header.hash} in an answer for ${at}`);
      return header;
    } catch (error) {
      if (error instanceof RpcError && classifyRefusal(error.message).kind === "node behind") return undefined;
      throw error;
    }
  };
  const headerByNumber = (number: number) => block("eth_getBlockByNumber", toHex(number), header => header.number === number);

  const ours = (logs: Log[]) => (filter.wants ? logs.filter(filter.wants) : logs);

  const getLogs = async (range: object, options?: CallOptions): Promise<Log[]> => {
    return parseLogs(await rpc.call("eth_getLogs", [{ ...range, address: filter.addresses, topics: [filter.topics] }], options));
  };

  return {
    async head() {
      for (;;) {
        const header = await block("eth_getBlockByNumber", "latest", () => true);
        if (header) return header;
        await sleep(pollInterval, signal);
        signal.throwIfAborted();
      }
    },

    async finalized(head) {
      // A final block above the head is that of another node, which is ahead: what lies between is not there to be read yet.
      if (typeof finality === "string") {
        const final = await block("eth_getBlockByNumber", finality, () => true);
        return final && final.number <= head.number ? final : undefined;
      }
      return head.number < finality ? undefined : headerByNumber(head.number - finality);
    },

    headerByNumber,
    headerByHash: hash => block("eth_getBlockByHash", hash, header => header.hash === hash),

    async headers(numbers) {
      const found: (Header | undefined)[] = [];
      for (let i = 0; i < numbers.length; i += HEADERS_AT_ONCE) {
        found.push(...(await Promise.all(numbers.slice(i, i + HEADERS_AT_ONCE).map(headerByNumber))));
      }
      return found;
    },

    async logsOf(header) {
      for (let tries = 1; ; tries++) {
        let logs: Log[];
        try {
          logs = checkLogs(await getLogs({ blockHash: header.hash }), filter, header.number, header.number);
        } catch (error) {
          // Whatever the node says of a block by its hash, it means that it has no such block to answer for.
          if (error instanceof RpcError) throw new UnknownBlockError(header, error);
          throw error;
        }
        if (verify === "off") return ours(logs);
        const { promisedButMissing } = checkBlock(header, logs, filter);
        if (!promisedButMissing || tries === 2) return ours(logs);
        log.debug({ block: header.number }, "the bloom promises an event that the answer lacks; asking again");
      }
    },

    async logsIn(from, to) {
      try {
        return ours(checkLogs(await getLogs({ fromBlock: toHex(from), toBlock: toHex(to) }, { knows: to }), filter, from, to));
      } catch (error) {
        if (error instanceof RpcError) throw new RangeRefusedError(classifyRefusal(error.message), error);
        throw error;
      }
    },

    async changed() {
      if (!announced) {
        const nap = new AbortController();
        const stop = () => nap.abort();
        wake = stop;
        signal.addEventListener("abort", stop, { once: true });
        await sleep(pollInterval, nap.signal);
        signal.removeEventListener("abort", stop);
        wake = () => {};
      }
      announced = false;
      signal.throwIfAborted();
    },
  };
}
