import { keccak256 } from "ethers/crypto";
import { BadAnswerError, UnverifiableError } from "../errors.ts";
import { bytes, encodeRlp, quantity } from "./rlp.ts";
import type { Hex } from "./types.ts";

/** A block as a node gives it, before anything of it is believed. */
export type RawBlock = Readonly<Record<string, unknown>>;

type Field = readonly [name: string, kind: "number" | number];

/** The fields of a header in the order of its RLP, a number or so many bytes (Yellow Paper, 4.3). */
const FIELDS: readonly Field[] = [
  ["parentHash", 32],
  ["sha3Uncles", 32],
  ["miner", 20],
  ["stateRoot", 32],
  ["transactionsRoot", 32],
  ["receiptsRoot", 32],
  ["logsBloom", 256],
  ["difficulty", "number"],
  ["number", "number"],
  ["gasLimit", "number"],
  ["gasUsed", "number"],
  ["timestamp", "number"],
];
const SEAL: readonly Field[] = [
  ["mixHash", 32],
  ["nonce", 8],
];
/** What forks appended, oldest first: London (EIP-1559), Shanghai (4895), Cancun (4844 twice, 4788), Prague (7685). */
const APPENDED: readonly Field[] = [
  ["baseFeePerGas", "number"],
  ["withdrawalsRoot", 32],
  ["blobGasUsed", "number"],
  ["excessBlobGas", "number"],
  ["parentBeaconBlockRoot", 32],
  ["requestsHash", 32],
];
/** What a node adds that is no part of the header. */
const BESIDE = ["hash", "size", "transactions", "uncles", "withdrawals", "totalDifficulty", "extraData"];
const KNOWN = new Set([...[...FIELDS, ...SEAL, ...APPENDED].map(([name]) => name), ...BESIDE]);

const encodeField = (raw: RawBlock, [name, kind]: Field): Hex =>
  kind === "number" ? quantity(raw[name], `the block's ${name}`) : bytes(raw[name], `the block's ${name}`, kind);

/** The hash of the header that these fields make up. Which fork it is of shows in which of the later fields are there. */
export function headerHash(raw: RawBlock): Hex {
  const appended = APPENDED.filter(([name]) => isThere(raw, name));
  return keccak256(
    encodeRlp([
      ...FIELDS.map(field => encodeField(raw, field)),
      bytes(raw.extraData, "the block's extraData"),
      ...[...SEAL, ...appended].map(field => encodeField(raw, field)),
    ]),
  );
}

/**
 * A block's hash is that of its fields, so that none of them can be altered without another hash. The fields may still be
 * those of a block that nobody else has: what makes it part of the chain are the hashes that lead to it.
 *
 * @throws BadAnswerError where it is not
 * @throws UnverifiableError where it is not and the header has fields of which we do not know how they are hashed
 */
export function checkHeaderHash(raw: RawBlock): void {
  const found = headerHash(raw);
  if (found === raw.hash) return;
  const strange = Object.keys(raw).filter(name => !KNOWN.has(name) && isThere(raw, name));
  if (strange.length > 0) {
    throw new UnverifiableError(`the header of block ${Number(raw.number)} has fields of another kind of chain: ${strange.join(", ")}`);
  }
  throw new BadAnswerError(`the fields of block ${Number(raw.number)} hash to ${found}, not to ${raw.hash}`);
}

const isThere = (raw: RawBlock, name: string): boolean => raw[name] !== undefined && raw[name] !== null;
