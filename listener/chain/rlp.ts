import { BadAnswerError } from "../errors.ts";
import type { Hex } from "./types.ts";

const BYTES = /^0x(?:[0-9a-f]{2})*$/i;
const QUANTITY = /^0x[0-9a-f]{1,64}$/i;

/**
 * A node's `0x…` as the bytes that RLP encodes, of this length where one is given.
 *
 * @throws BadAnswerError where it is anything else: what a node sends has no type until it was looked at
 */
export function bytes(value: unknown, what: string, length?: number): Hex {
  if (typeof value !== "string" || !BYTES.test(value)) throw new BadAnswerError(`${what} is not a string of bytes`);
  if (length !== undefined && value.length !== 2 + 2 * length) throw new BadAnswerError(`${what} is not of ${length} bytes`);
  return value;
}

/** A node's number as RLP has it (Yellow Paper, appendix B): big-endian, without leading zeros, and empty for 0. */
export function quantity(value: unknown, what: string): Hex {
  if (typeof value !== "string" || !QUANTITY.test(value)) throw new BadAnswerError(`${what} is not a number`);
  const digits = value.slice(2).replace(/^0+/, "");
  return `0x${digits.length % 2 ? "0" : ""}${digits}`;
}

/** A node's list, where there must be one. */
export function list(value: unknown, what: string): unknown[] {
  if (!Array.isArray(value)) throw new BadAnswerError(`${what} is not a list`);
  return value;
}

/** A node's object, where there must be one. */
export function object(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new BadAnswerError(`${what} is not an object`);
  return value as Record<string, unknown>;
}

/** What RLP encodes: bytes, or a list of such. */
export type RlpNode = Hex | readonly RlpNode[];

/**
 * Recursive length prefix (Yellow Paper, appendix B), in time that grows with what is encoded. ethers' own copies a list's
 * bytes once for each of its items: a receipt with 10,000 logs took it minutes.
 */
export const encodeRlp = (node: RlpNode): Hex => `0x${encode(node)}`;

function encode(node: RlpNode): string {
  if (typeof node === "string") {
    const digits = node.slice(2);
    return digits.length === 2 && digits < "80" ? digits : `${prefix(0x80, digits.length / 2)}${digits}`;
  }
  const items = node.map(encode).join("");
  return `${prefix(0xc0, items.length / 2)}${items}`;
}

function prefix(base: number, length: number): string {
  if (length < 56) return hexOf(base + length);
  const size = hexOf(length);
  return `${hexOf(base + 55 + size.length / 2)}${size}`;
}

function hexOf(number: number): string {
  const digits = number.toString(16);
  return digits.length % 2 ? `0${digits}` : digits;
}
