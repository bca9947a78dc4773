import { concat } from "ethers/utils";
import { UnverifiableError } from "../errors.ts";
import { bytes, encodeRlp, list, object, quantity, type RlpNode } from "./rlp.ts";
import type { Hex } from "./types.ts";

type Raw = Record<string, unknown>;

const number = (raw: Raw, name: string) => quantity(raw[name], `a transaction's ${name}`);
const to = (raw: Raw): Hex => (raw.to === null || raw.to === undefined ? "0x" : bytes(raw.to, "a transaction's to", 20));
const payload = (raw: Raw) => [to(raw), number(raw, "value"), bytes(raw.input, "a transaction's input")];
const parity = (raw: Raw) => quantity(raw.yParity ?? raw.v, "a signature's parity");
const signature = (raw: Raw) => [parity(raw), number(raw, "r"), number(raw, "s")];
const fees = (raw: Raw) => [number(raw, "maxPriorityFeePerGas"), number(raw, "maxFeePerGas")];
const opening = (raw: Raw) => [number(raw, "chainId"), number(raw, "nonce")];

const accessList = (raw: Raw): RlpNode[] =>
  list(raw.accessList, "an access list").map(item => {
    const { address, storageKeys } = object(item, "an access");
    return [bytes(address, "an accessed address", 20), list(storageKeys, "storage keys").map(key => bytes(key, "a storage key", 32))];
  });
const authorizations = (raw: Raw): RlpNode[] =>
  list(raw.authorizationList, "an authorization list").map(item => {
    const one = object(item, "an authorization");
    return [number(one, "chainId"), bytes(one.address, "an authorized address", 20), number(one, "nonce"), ...signature(one)];
  });
const blobHashes = (raw: Raw) => list(raw.blobVersionedHashes, "blob hashes").map(hash => bytes(hash, "a blob hash", 32));

/** What is encoded of a transaction, by type: EIP-155, 2930, 1559, 4844 (without its blobs, as in a block), 7702. */
const FIELDS: Record<string, (raw: Raw) => RlpNode[]> = {
  "0x0": raw => [
    number(raw, "nonce"),
    number(raw, "gasPrice"),
    number(raw, "gas"),
    ...payload(raw),
    number(raw, "v"),
    number(raw, "r"),
    number(raw, "s"),
  ],
  "0x1": raw => [...opening(raw), number(raw, "gasPrice"), number(raw, "gas"), ...payload(raw), accessList(raw), ...signature(raw)],
  "0x2": raw => [...opening(raw), ...fees(raw), number(raw, "gas"), ...payload(raw), accessList(raw), ...signature(raw)],
  "0x3": raw => [
    ...opening(raw),
    ...fees(raw),
    number(raw, "gas"),
    ...payload(raw),
    accessList(raw),
    number(raw, "maxFeePerBlobGas"),
    blobHashes(raw),
    ...signature(raw),
  ],
  "0x4": raw => [
    ...opening(raw),
    ...fees(raw),
    number(raw, "gas"),
    ...payload(raw),
    accessList(raw),
    authorizations(raw),
    ...signature(raw),
  ],
};

/**
 * A transaction in full, as `eth_getBlockByHash` gives it, in the bytes whose hash is its own (EIP-2718).
 *
 * @throws UnverifiableError for a type that Ethereum does not have
 */
export function encodeTransaction(given: unknown): Hex {
  const raw = object(given, "a transaction");
  const type = raw.type === undefined ? "0x0" : String(raw.type);
  const fields = FIELDS[type];
  if (!fields) throw new UnverifiableError(`a transaction of type ${type}`);
  const encoded = encodeRlp(fields(raw));
  return type === "0x0" ? encoded : concat([`0x0${type.slice(2)}`, encoded]);
}
