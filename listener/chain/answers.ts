import { BadAnswerError, MalformedAnswerError } from "../errors.ts";
import type { Header, Hex, Log } from "./types.ts";

const EMPTY_BLOOM = `0x${"00".repeat(256)}`;
const QUANTITY = /^0x[0-9a-f]{1,64}$/i;
const BYTES = /^0x(?:[0-9a-f]{2})*$/i;

export const toHex = (number: number): Hex => `0x${number.toString(16)}`;

/** What a node sends has no type until it was looked at. */
function fieldsOf(answer: unknown, what: string): Record<string, unknown> {
  if (typeof answer !== "object" || answer === null || Array.isArray(answer)) throw new MalformedAnswerError(`${what} is not an object`);
  return answer as Record<string, unknown>;
}

function count(value: unknown, what: string): number {
  const number = typeof value === "string" && QUANTITY.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw new MalformedAnswerError(`${what} is not a number`);
  return number;
}

/** Lower-case, so that the same bytes are the same text whichever node wrote them. `same`: what may be the same once more. */
function bytes(value: unknown, what: string, { length, same }: { length?: number; same?: Hex | undefined } = {}): Hex {
  if (same !== undefined && value === same) return same;
  if (typeof value !== "string" || !BYTES.test(value)) throw new MalformedAnswerError(`${what} is not a string of bytes`);
  if (length !== undefined && value.length !== 2 + 2 * length) throw new MalformedAnswerError(`${what} is not of ${length} bytes`);
  return value.toLowerCase();
}

/**
 * A node's block as the header that we use.
 *
 * @throws MalformedAnswerError where a field that every block has is missing or is no such thing
 */
export function parseHeader(answer: unknown): Header {
  const raw = fieldsOf(answer, "a block");
  return {
    number: count(raw.number, "a block's number"),
    hash: bytes(raw.hash, "a block's hash", { length: 32 }),
    parentHash: bytes(raw.parentHash, "a block's parent hash", { length: 32 }),
    timestamp: count(raw.timestamp, "a block's timestamp"),
    logsBloom: bytes(raw.logsBloom ?? EMPTY_BLOOM, "a block's bloom", { length: 256 }),
  };
}

/**
 * A node's list of logs.
 *
 * @throws MalformedAnswerError where it is none, or one lacks what it needs
 * @throws BadAnswerError where one is marked as removed
 */
export function parseLogs(answer: unknown): Log[] {
  if (!Array.isArray(answer)) throw new MalformedAnswerError("eth_getLogs answered something that is not a list");
  let before: Log | undefined;
  return answer.map(raw => (before = parseLog(raw, before)));
}

/** @param before the log before this one, with which it often shares block, transaction, contract and event: held once then */
function parseLog(answer: unknown, before: Log | undefined): Log {
  const raw = fieldsOf(answer, "a log");
  if (raw.removed) throw new BadAnswerError(`log ${raw.logIndex} of block ${raw.blockNumber} is marked as removed`);
  if (!Array.isArray(raw.topics)) throw new MalformedAnswerError("a log's topics are not a list");
  return {
    blockNumber: count(raw.blockNumber, "a log's block number"),
    blockHash: bytes(raw.blockHash, "a log's block hash", { length: 32, same: before?.blockHash }),
    blockTimestamp: raw.blockTimestamp == null ? undefined : count(raw.blockTimestamp, "a log's timestamp"),
    transactionHash: bytes(raw.transactionHash, "a log's transaction hash", { length: 32, same: before?.transactionHash }),
    transactionIndex: count(raw.transactionIndex, "a log's transaction index"),
    logIndex: count(raw.logIndex, "a log's index"),
    address: bytes(raw.address, "a log's address", { length: 20, same: before?.address }),
    topics: raw.topics.map((topic, i) => bytes(topic, "a topic", { length: 32, same: before?.topics[i] })),
    data: bytes(raw.data, "a log's data"),
  };
}
