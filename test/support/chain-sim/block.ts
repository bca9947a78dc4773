import { bloomOf } from "../bloom.ts";
import { encodeRlp, keccak, scalar } from "./rlp.ts";
import type { Emitted, TokenState } from "./token-model.ts";
import { rootOf } from "./trie.ts";

export type RawLog = {
  address: string;
  topics: string[];
  data: string;
  blockNumber: string;
  blockHash: string;
  transactionHash: string;
  transactionIndex: string;
  logIndex: string;
  removed: boolean;
};

const NUMBERS = new Set(["difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas", "blobGasUsed", "excessBlobGas"]);

/** A block of the simulated chain, with what a node would say about it. `token` is the contract's state after it. */
export type SimBlock = {
  number: number;
  hash: string;
  parent: SimBlock | undefined;
  header: Record<string, unknown>;
  transactions: Record<string, unknown>[];
  receipts: Record<string, unknown>[];
  logs: RawLog[];
  token: TokenState;
};

export const quantity = (value: number | bigint) => `0x${value.toString(16)}`;
const word = (value: number) => `0x${value.toString(16).padStart(64, "0")}`;
const bytes8 = (value: number) => `0x${value.toString(16).padStart(16, "0")}`;
/** An envelope of EIP-2718. */
const envelope = (type: string, payload: string) => `${type}${payload.slice(2)}`;
const EMPTY_LIST = keccak("0xc0");
const EMPTY_TRIE = keccak("0x80");
const ORACLE = `0x${"0f".repeat(20)}`;

/** `salt` makes two blocks of the same parent and content different ones, as a miner's extra data does. */
export type Draft = {
  parent: SimBlock | undefined;
  timestamp: number;
  salt: number;
  address: string;
  transactions: readonly (readonly Emitted[])[];
  token: TokenState;
};

/** Builds a block whose hash, roots and blooms are those of its content. */
export function buildBlock({ parent, timestamp, salt, address, transactions, token }: Draft): SimBlock {
  const number = parent ? parent.number + 1 : 0;
  const sent = transactions.map((_, i) => transactionOf(number, i, salt, address));
  const logs = transactions.map(emitted => emitted.map(({ topics, data }) => ({ address, topics: [...topics], data })));
  const receipts = logs.map((own, i) => ({ gasUsed: quantity(21_000 * (i + 1)), bloom: bloomOf(own), logs: own }));
  const bloom = bloomOf(logs.flat());
  const header: Record<string, string> = {
    parentHash: parent?.hash ?? word(0),
    sha3Uncles: EMPTY_LIST,
    miner: ORACLE,
    stateRoot: keccak(word(salt)),
    transactionsRoot: rootOf(sent.map(one => one.encoded)),
    receiptsRoot: rootOf(
      receipts.map(({ gasUsed, bloom, logs }) =>
        envelope("0x02", encodeRlp(["0x01", scalar(gasUsed), bloom, logs.map(log => [log.address, log.topics, log.data])])),
      ),
    ),
    logsBloom: bloom,
    difficulty: "0x0",
    number: quantity(number),
    gasLimit: quantity(30_000_000),
    gasUsed: quantity(21_000 * sent.length),
    timestamp: quantity(timestamp),
    extraData: bytes8(salt),
    mixHash: word(salt),
    nonce: "0x0000000000000000",
    baseFeePerGas: "0x7",
    withdrawalsRoot: EMPTY_TRIE,
    blobGasUsed: "0x0",
    excessBlobGas: "0x0",
    parentBeaconBlockRoot: word(number),
  };
  const hash = keccak(encodeRlp(Object.entries(header).map(([name, value]) => (NUMBERS.has(name) ? scalar(value) : value))));
  const place = { blockNumber: quantity(number), blockHash: hash };
  let logIndex = 0;
  const placed = logs.map((own, i) =>
    own.map(log => ({
      ...log,
      ...place,
      transactionHash: sent[i]!.hash,
      transactionIndex: quantity(i),
      logIndex: quantity(logIndex++),
      removed: false,
    })),
  );
  return {
    number,
    hash,
    parent,
    header: { ...header, hash, size: "0x220", totalDifficulty: "0x0", uncles: [], withdrawals: [] },
    transactions: sent.map(({ raw, hash }, i) => ({ ...raw, ...place, hash, transactionIndex: quantity(i) })),
    receipts: receipts.map(({ gasUsed, bloom }, i) => ({
      type: "0x2",
      status: "0x1",
      cumulativeGasUsed: gasUsed,
      gasUsed: quantity(21_000),
      logsBloom: bloom,
      logs: placed[i]!,
      ...place,
      transactionHash: sent[i]!.hash,
      transactionIndex: quantity(i),
      contractAddress: null,
      from: ORACLE,
      to: address,
      effectiveGasPrice: "0x7",
    })),
    logs: placed.flat(),
    token,
  };
}

/** A transaction of EIP-1559. Nobody signed it: no root knows the difference. */
function transactionOf(number: number, index: number, salt: number, to: string) {
  const raw = {
    type: "0x2",
    chainId: "0x1",
    nonce: quantity(number * 1_000 + index),
    maxPriorityFeePerGas: "0x1",
    maxFeePerGas: "0x9",
    gas: quantity(21_000),
    to,
    value: "0x0",
    input: bytes8(salt),
    accessList: [],
    yParity: "0x1",
    v: "0x1",
    r: quantity(BigInt(salt) + 1n),
    s: quantity(index + 1),
    from: ORACLE,
    gasPrice: "0x8",
  };
  const encoded = envelope(
    "0x02",
    encodeRlp([
      scalar(raw.chainId),
      scalar(raw.nonce),
      scalar(raw.maxPriorityFeePerGas),
      scalar(raw.maxFeePerGas),
      scalar(raw.gas),
      to,
      "0x",
      raw.input,
      [],
      scalar(raw.yParity),
      scalar(raw.r),
      scalar(raw.s),
    ]),
  );
  return { raw, encoded, hash: keccak(encoded) };
}
