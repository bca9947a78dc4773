import type { Finality, Verify } from "../config.ts";
import { sleep } from "../db.ts";
import { BadAnswerError, SluiceError } from "../errors.ts";
import type { Log as Logger } from "../log.ts";
import { parseHeader, toHex } from "./answers.ts";
import { logReader } from "./log-reader.ts";
import { provenHeader } from "./proof.ts";
import { classifyRefusal, type RangeRefusal } from "./provider-errors.ts";
import { type Rpc, RpcError } from "./rpc.ts";
import type { BlockRef, ChainSource, Header, Log, LogFilter } from "./types.ts";

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
const HEADERS_AT_ONCE = 24;
/** Headers that are kept: somewhat more than a few ranges in flight have blocks with logs. */
const HELD = 20_000;

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

  const parse = verify === "receipts" ? provenHeader : parseHeader;
  /** The block, if any node knows it. Of several, one that should know it and does not is behind. */
  const block = async (method: string, at: string, fits: (header: Header) => boolean): Promise<Header | undefined> => {
    const check = (answer: unknown) => {
      if (answer === null) return undefined;
      const header = parse(answer);
      if (!fits(header)) throw new BadAnswerError(`${method}: block ${header.number} ${header.hash} in an answer for ${at}`);
      return header;
    };
    try {
      return await rpc.call(method, [at, false], { exists: true, check });
    } catch (error) {
      if (error instanceof RpcError && classifyRefusal(error.message).kind === "node behind") return undefined;
      throw error;
    }
  };
  const headerByNumber = (number: number) => block("eth_getBlockByNumber", toHex(number), header => header.number === number);

  /** The latest headers that logs of ranges were held against, so that they are not read twice. */
  const held = new Map<number, Header>();
  const keep = (header: Header) => {
    held.set(header.number, header);
    if (held.size > HELD) held.delete(held.keys().next().value!);
  };

  /** Headers of these numbers, those that `known` has without asking. */
  const headersAt = async (numbers: readonly number[], known?: ReadonlyMap<number, Header>): Promise<(Header | undefined)[]> => {
    const found: (Header | undefined)[] = [];
    for (let i = 0; i < numbers.length; i += HEADERS_AT_ONCE) {
      const some = numbers.slice(i, i + HEADERS_AT_ONCE);
      found.push(...(await Promise.all(some.map(number => known?.get(number) ?? headerByNumber(number)))));
    }
    return found;
  };

  const knownHeadersAt = async (numbers: readonly number[], linked: boolean): Promise<Header[]> => {
    const headers: Header[] = [];
    for (const [i, found] of (await headersAt(numbers)).entries()) {
      const parent = linked ? headers.at(-1) : undefined;
      const follows = (header: Header) => header.number === numbers[i] && (!parent || header.parentHash === parent.hash);
      // Of two that do not fit, the later is asked for again, until a node gives one that does.
      const header = found && follows(found) ? found : await block("eth_getBlockByNumber", toHex(numbers[i]!), follows);
      if (!header) throw new UnknownBlockError({ number: numbers[i]!, hash: "" });
      headers.push(header);
    }
    return headers;
  };

  let highest = 0;
  const ours = (logs: Log[]) => (filter.wants ? logs.filter(filter.wants) : logs);
  const reader = logReader(verify, { rpc, filter, log, headers: knownHeadersAt, head: () => highest });

  return {
    async head() {
      for (;;) {
        const header = await block("eth_getBlockByNumber", "latest", () => true);
        if (header) {
          highest = header.number;
          return header;
        }
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

    headers: numbers => headersAt(numbers, held),

    async logsOf(header) {
      try {
        const logs = await reader.ofBlock(header);
        if (logs) return ours(logs);
      } catch (error) {
        // Whatever the node says of a block by its hash, it means that it has no such block to answer for.
        if (error instanceof RpcError) throw new UnknownBlockError(header, error);
        throw error;
      }
      throw new UnknownBlockError(header);
    },

    async logsIn(from, to) {
      // Read once more, the range may be of another branch.
      for (const number of held.keys()) if (number >= from && number <= to) held.delete(number);
      try {
        return ours(await reader.ofRange(from, to, keep));
      } catch (error) {
        if (error instanceof RpcError) throw new RangeRefusedError(classifyRefusal(error.message), error);
        throw error;
      }
    },
    ...(reader.maxRange ? { maxRange: reader.maxRange } : {}),

    async changed() {
      held.clear();
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
