import { BadAnswerError } from "../errors.ts";
import { parseHeader } from "./answers.ts";
import { checkHeaderHash, type RawBlock } from "./header-hash.ts";
import { provenLogs, provenTransactions } from "./receipts.ts";
import { type Rpc, RpcError } from "./rpc.ts";
import type { Header, Hex, Log } from "./types.ts";

/** A header whose hash is that of its own fields. */
export function provenHeader(answer: unknown): Header {
  const header = parseHeader(answer);
  checkHeaderHash(answer as RawBlock);
  return header;
}

/**
 * Every log of the block with this hash, proven: the block's fields hash to it, its transactions and receipts have the
 * roots that stand in those fields. What is taken on trust is that the hash is the chain's.
 *
 * @returns undefined where no node knows the block (any more)
 * @throws BadAnswerError where no node gave what the hash stands for
 * @throws UnverifiableError where this chain, or the nodes that it has, cannot be verified so
 */
export async function proveLogs(rpc: Rpc, hash: Hex): Promise<Log[] | undefined> {
  const block = await rpc.call("eth_getBlockByHash", [hash, true], {
    exists: true,
    check(answer) {
      if (answer === null) return undefined;
      const header = provenHeader(answer);
      if (header.hash !== hash) throw new BadAnswerError(`block ${header.hash} in an answer for ${hash}`);
      const raw = answer as RawBlock;
      return { ...header, receiptsRoot: raw.receiptsRoot as Hex, transactions: provenTransactions(raw) };
    },
  });
  return block && receiptsOf(rpc, block);
}

type Proven = Header & { receiptsRoot: Hex; transactions: Hex[] };

async function receiptsOf(rpc: Rpc, block: Proven): Promise<Log[] | undefined> {
  const check = (answer: unknown) => (answer === null ? undefined : provenLogs(block, answer));
  try {
    return await rpc.call("eth_getBlockReceipts", [block.hash], { exists: true, check });
  } catch (error) {
    if (!(error instanceof RpcError) || !isMissingMethod(error)) throw error;
  }
  // Hardhat's node cannot give them at once. One by one nobody can be held to account for them before they are together.
  const receipts = await Promise.all(block.transactions.map(hash => rpc.call("eth_getTransactionReceipt", [hash])));
  return receipts.includes(null) ? undefined : provenLogs(block, receipts);
}

const isMissingMethod = ({ code, message }: RpcError): boolean =>
  code === -32_601 || code === -32_004 || /not supported|not found|not available|does not exist|unsupported method/i.test(message);

/**
 * Holds what a node said against what was proven: the same logs, in the same places.
 *
 * @param said sorted by place, as `proven` is
 * @throws BadAnswerError that names the first that is hidden, invented or altered
 */
export function checkAgainstProof(said: readonly Log[], proven: readonly Log[]): void {
  for (let i = 0; i < Math.max(said.length, proven.length); i++) {
    const [a, b] = [said[i], proven[i]];
    if (a && b && isSame(a, b)) continue;
    const at = (log: Log) => `log ${log.logIndex} of block ${log.blockNumber}`;
    const order = a && b ? a.blockNumber - b.blockNumber || a.logIndex - b.logIndex : a ? -1 : 1;
    if (order === 0) throw new BadAnswerError(`${at(b!)} is altered`);
    throw new BadAnswerError(order < 0 ? `${at(a!)} is invented` : `${at(b!)} is hidden`);
  }
}

const isSame = (said: Log, proven: Log): boolean =>
  said.blockNumber === proven.blockNumber &&
  said.blockHash === proven.blockHash &&
  (said.blockTimestamp ?? proven.blockTimestamp) === proven.blockTimestamp &&
  said.transactionHash === proven.transactionHash &&
  said.transactionIndex === proven.transactionIndex &&
  said.logIndex === proven.logIndex &&
  said.address === proven.address &&
  said.data.toLowerCase() === proven.data &&
  said.topics.length === proven.topics.length &&
  said.topics.every((topic, i) => topic.toLowerCase() === proven.topics[i]);
