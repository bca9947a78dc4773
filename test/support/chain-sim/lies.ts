import { hexlify, id, toBeHex, zeroPadValue } from "ethers";
import type { Random } from "../../../scripts/support/random.ts";
import { token } from "../token.ts";
import { quantity, type RawLog } from "./block.ts";

/** What a node may do to a list of logs that is not empty. */
export type Lie = (logs: RawLog[], random: Random) => RawLog[];

const other = (random: Random) => hexlify(Uint8Array.from({ length: 20 }, () => random.below(256)));
const amount = (random: Random) => toBeHex(1 + random.below(1_000_000), 32);
const TRANSFER = token.getEvent("Transfer")!.topicHash;
const change = (logs: RawLog[], random: Random, how: (log: RawLog) => Partial<RawLog>) => {
  const at = random.below(logs.length);
  return logs.map((log, i) => (i === at ? { ...log, ...how(log) } : log));
};

/** Lies that need the block's receipts to be seen through: the bloom admits them. */
export const SUBTLE_LIES: Record<string, Lie> = {
  drop: (logs, random) => logs.toSpliced(random.below(logs.length), 1),
  add: (logs, random) => {
    const like = random.pick(logs);
    const last = Math.max(...logs.filter(log => log.blockHash === like.blockHash).map(log => Number(log.logIndex)));
    return [...logs, { ...like, logIndex: quantity(last + 1) }];
  },
  alter: (logs, random) =>
    change(logs, random, log => ({ data: `${log.data.slice(0, -6)}${(1 + random.below(0xfffffe)).toString(16).padStart(6, "0")}` })),
  swap: (logs, random) => {
    const [a, b] = [random.below(logs.length), random.below(logs.length)];
    const [first, second] = [logs[a]!, logs[b]!];
    if (first.data === second.data && first.topics.join() === second.topics.join()) return SUBTLE_LIES.alter!(logs, random);
    const body = ({ topics, data }: RawLog) => ({ topics, data });
    return logs.map((log, i) => (i === a ? { ...log, ...body(second) } : i === b ? { ...log, ...body(first) } : log));
  },
};

/** Lies that a bloom can tell: nothing where it promises something, and topics that it does not admit. */
export const PLAIN_LIES: Record<string, Lie> = {
  drop: () => [],
  add: (logs, random) => {
    const like = random.pick(logs);
    const last = Math.max(...logs.filter(log => log.blockHash === like.blockHash).map(log => Number(log.logIndex)));
    const topics = [TRANSFER, zeroPadValue(other(random), 32), zeroPadValue(other(random), 32)];
    return [...logs, { ...like, topics, data: amount(random), logIndex: quantity(last + 1) }];
  },
  alter: (logs, random) =>
    change(logs, random, log => ({ topics: [log.topics[0]!, zeroPadValue(other(random), 32), ...log.topics.slice(2)] })),
  swap: (logs, random) =>
    change(logs, random, () => ({
      topics: [TRANSFER, zeroPadValue(other(random), 32), zeroPadValue(other(random), 32)],
      data: amount(random),
    })),
};

/** Answers that are wrong in themselves: no block is needed to see it. */
export const WRONG_LOGS: Record<string, Lie> = {
  "a log marked as removed": (logs, random) => change(logs, random, () => ({ removed: true })),
  "a log twice": (logs, random) => [...logs, random.pick(logs)],
  "a log of another block": (logs, random) => change(logs, random, () => ({ blockHash: id(String(random.next())) })),
  "a log of another contract": (logs, random) => change(logs, random, () => ({ address: other(random) })),
  "a log that was not asked for": (logs, random) =>
    change(logs, random, log => ({ topics: [id(String(random.next())), ...log.topics.slice(1)] })),
  "a log of a block outside": (logs, random) => change(logs, random, log => ({ blockNumber: quantity(Number(log.blockNumber) + 1_000) })),
  "a log without topics": (logs, random) => change(logs, random, () => ({ topics: undefined as never })),
  "a log without a block": (logs, random) => change(logs, random, () => ({ blockHash: null as never, blockNumber: null as never })),
  "numbers that are none": (logs, random) => change(logs, random, () => ({ logIndex: "0xzz" })),
  "a log that is null": (logs, random) => logs.map((log, i) => (i === random.below(logs.length) ? (null as never) : log)),
};

/** Not wrong: a reader must put up with it. */
export const HARMLESS_LOGS: Record<string, Lie> = {
  "logs out of order": (logs, random) =>
    logs
      .map(log => ({ log, at: random.next() }))
      .sort((a, b) => a.at - b.at)
      .map(({ log }) => log),
  "addresses with a checksum": logs => logs.map(log => ({ ...log, address: log.address.toUpperCase().replace("0X", "0x") })),
  "fields that nobody knows": logs => logs.map(log => ({ ...log, blockTimestamp: undefined, l1Fee: "0x1" })),
};
