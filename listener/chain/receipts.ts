import { keccak256 } from "ethers/crypto";
import { concat } from "ethers/utils";
import { BadAnswerError, UnverifiableError } from "../errors.ts";
import type { RawBlock } from "./header-hash.ts";
import { bytes, encodeRlp, list, object, quantity } from "./rlp.ts";
import { encodeTransaction } from "./transactions.ts";
import { listRoot } from "./trie.ts";
import type { Hex, Log } from "./types.ts";

const TYPES = new Set(["0x0", "0x1", "0x2", "0x3", "0x4"]);

/**
 * A receipt in the bytes that the trie holds: [status, gas used so far in the block, bloom, logs], after the byte of its
 * type (EIP-2718, EIP-658). Before Byzantium the state root stands in the place of the status.
 *
 * @throws UnverifiableError for a type that Ethereum does not have, such as a rollup's deposits
 */
export function encodeReceipt(given: unknown): Hex {
  const raw = object(given, "a receipt");
  const type = raw.type === undefined ? "0x0" : String(raw.type);
  if (!TYPES.has(type)) throw new UnverifiableError(`a receipt of type ${type}`);
  const encoded = encodeRlp([
    raw.status === undefined || raw.status === null ? bytes(raw.root, "a receipt's root", 32) : quantity(raw.status, "a receipt's status"),
    quantity(raw.cumulativeGasUsed, "a receipt's gas"),
    bytes(raw.logsBloom, "a receipt's bloom", 256),
    logsOf(raw).map(log => [log.address, log.topics, log.data]),
  ]);
  return type === "0x0" ? encoded : concat([`0x0${type.slice(2)}`, encoded]);
}

/** What a receipt's encoding holds of its logs, and with it the root: nothing else of them is proven. */
const logsOf = (receipt: Record<string, unknown>) =>
  list(receipt.logs, "a receipt's logs").map(given => {
    const log = object(given, "a log");
    return {
      address: bytes(log.address, "a log's address", 20).toLowerCase(),
      topics: list(log.topics, "a log's topics").map(topic => bytes(topic, "a topic", 32).toLowerCase()),
      data: bytes(log.data, "a log's data").toLowerCase(),
    };
  });

/** The root of the trie of a block's receipts, as its header has it. */
export const receiptsRoot = (receipts: readonly unknown[]): Hex => listRoot(receipts.map(encodeReceipt));

/**
 * The hashes of a block's transactions, in order: its header's `transactionsRoot` is that of the transactions themselves.
 *
 * Anvil makes that root of a blob transaction with its sidecar, as no other node does: such a block of its own is refused.
 *
 * @param raw a block with its transactions in full, whose header was checked
 * @throws BadAnswerError where they are not the block's
 */
export function provenTransactions(raw: RawBlock): Hex[] {
  const encoded = list(raw.transactions, "a block's transactions").map(encodeTransaction);
  // Without any there is nothing to prove, and Hardhat's first block has a root of its own making.
  if (encoded.length > 0 && listRoot(encoded) !== raw.transactionsRoot)
    throw new BadAnswerError(`the transactions of block ${Number(raw.number)} are not those of its root`);
  return encoded.map(one => keccak256(one));
}

/**
 * All logs of a block, from receipts whose root is the header's. Where a log stands follows from the order of the receipts
 * and from that of the transactions: what the node says about it is not asked.
 *
 * @param block whose header and transactions were checked
 * @throws BadAnswerError where the receipts are not the block's
 */
export function provenLogs(
  block: { number: number; hash: Hex; timestamp: number; receiptsRoot: Hex; transactions: readonly Hex[] },
  given: unknown,
): Log[] {
  const receipts = list(given, "eth_getBlockReceipts");
  if (receipts.length !== block.transactions.length || receiptsRoot(receipts) !== block.receiptsRoot)
    throw new BadAnswerError(`the receipts of block ${block.number} are not those of its root`);
  let logIndex = 0;
  return receipts.flatMap((receipt, transactionIndex) =>
    logsOf(object(receipt, "a receipt")).map(log => ({
      ...log,
      blockNumber: block.number,
      blockHash: block.hash,
      blockTimestamp: block.timestamp,
      transactionHash: block.transactions[transactionIndex]!,
      transactionIndex,
      logIndex: logIndex++,
    })),
  );
}
