import { keccak256 } from "ethers/crypto";
import { BadAnswerError } from "../errors.ts";
import type { Header, Hex, Log, LogFilter } from "./types.ts";

/**
 * Whether `bloom` (256 bytes) admits `value`: the three 11-bit indices are the low bits of the first six bytes of its
 * hash (Yellow Paper, 4.3.1). A bloom has false positives and no false negatives.
 */
export function bloomAdmits(bloom: Uint8Array, value: Hex): boolean {
  const bits = bitsOf(value);
  return isSet(bloom, bits & 2047) && isSet(bloom, (bits >>> 11) & 2047) && isSet(bloom, Math.floor(bits / 2 ** 22));
}

const isSet = (bloom: Uint8Array, bit: number) => (bloom[255 - (bit >> 3)]! & (1 << (bit & 7))) !== 0;

/** A hash costs more than all else that is done with a log, and the same addresses come again and again, in topics too. */
const known = new Map<Hex, number>();
const MAX_KNOWN = 20_000;

/** The three indices of a value, 11 bits each, as one number. */
function bitsOf(value: Hex): number {
  let bits = known.get(value);
  if (bits === undefined) {
    const hash = Buffer.from(keccak256(value).slice(2, 14), "hex");
    const index = (at: number) => hash.readUInt16BE(at) & 2047;
    bits = index(0) + index(2) * 2 ** 11 + index(4) * 2 ** 22;
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(value, bits);
  }
  return bits;
}

const bytesOf = (bloom: Hex) => Buffer.from(bloom.slice(2), "hex");

/** Every log lies in [from, to], matches the filter, was not removed, and has its own place; order is made, not trusted. */
export function checkLogs(logs: Log[], filter: LogFilter, from: number, to: number): Log[] {
  const sorted = logs.toSorted((a, b) => a.blockNumber - b.blockNumber || a.logIndex - b.logIndex);
  const addresses = new Set(filter.addresses);
  const topics = new Set(filter.topics);
  let previous: Log | undefined;
  for (const log of sorted) {
    if (log.blockNumber < from || log.blockNumber > to)
      throw new BadAnswerError(`a log of block ${log.blockNumber} in an answer for ${from} to ${to}`);
    if (!addresses.has(log.address) || !topics.has(log.topics[0] ?? ""))
      throw new BadAnswerError(`a log of ${log.address} that was not asked for`);
    if (previous?.blockNumber === log.blockNumber) {
      if (previous.logIndex === log.logIndex) throw new BadAnswerError(`log ${log.logIndex} of block ${log.blockNumber} twice`);
      if (previous.blockHash !== log.blockHash) throw new BadAnswerError(`block ${log.blockNumber} with two hashes in one answer`);
    }
    previous = log;
  }
  return sorted;
}

/**
 * Holds the logs of one block against its header: the hash is the header's, the bloom admits each log, and where the bloom
 * promises one of our events there is at least the chance of one. A bloom cannot prove an event, so a promise without a
 * log is left to the caller: it is asked again, elsewhere, before it is believed.
 */
export function checkBlock(header: Header, logs: readonly Log[], filter: LogFilter): { promisedButMissing: boolean } {
  const bloom = bytesOf(header.logsBloom);
  let before: Log | undefined;
  for (const log of logs) {
    if (log.blockHash !== header.hash) throw new BadAnswerError(`a log of block ${log.blockHash} in an answer for ${header.hash}`);
    if ((log.blockTimestamp ?? header.timestamp) !== header.timestamp)
      throw new BadAnswerError(`log ${log.logIndex} of block ${header.number} with the time of another block`);
    // Contract and event are mostly those of the log before, which were looked for already.
    const admitted =
      (log.address === before?.address || bloomAdmits(bloom, log.address)) &&
      log.topics.every((topic, i) => topic === before?.topics[i] || bloomAdmits(bloom, topic));
    if (!admitted) throw new BadAnswerError(`log ${log.logIndex} of block ${header.number} is not in the block's bloom`);
    before = log;
  }
  return { promisedButMissing: logs.length === 0 && promises(header, filter) };
}

/** Whether the block's bloom admits one of our events: where it does not, the block has none. */
export function promises({ logsBloom }: Header, filter: LogFilter): boolean {
  const bloom = bytesOf(logsBloom);
  return filter.addresses.some(address => bloomAdmits(bloom, address)) && filter.topics.some(topic => bloomAdmits(bloom, topic));
}
