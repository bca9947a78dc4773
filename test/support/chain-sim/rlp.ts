import { keccak256 } from "ethers";

/** What RLP encodes: bytes as hexadecimal, or a list of such. */
export type Rlp = string | readonly Rlp[];

/** Recursive length prefix (Yellow Paper, appendix B), written apart from the code that it is to check. */
export const encodeRlp = (node: Rlp): string => hex(encoded(node));

function encoded(node: Rlp): Buffer {
  if (typeof node !== "string") return Buffer.concat(headed(0xc0, node.map(encoded)));
  const bytes = bytesOf(node);
  return bytes.length === 1 && bytes[0]! < 0x80 ? bytes : Buffer.concat(headed(0x80, [bytes]));
}

function headed(offset: number, parts: Buffer[]): Buffer[] {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length < 56) return [Buffer.of(offset + length), ...parts];
  const size = bytesOf(even(length.toString(16)));
  return [Buffer.of(offset + 55 + size.length), size, ...parts];
}

/** The hash of bytes given as hexadecimal: ethers takes longer to read those than to hash them. */
export const keccak = (value: string): string => keccak256(bytesOf(value));

/** A number without leading zeros, and nothing at all for 0. */
export const scalar = (value: string): string => {
  const digits = value.slice(2).replace(/^0+/, "");
  return digits === "" ? "0x" : even(digits);
};

const even = (digits: string) => `0x${digits.length % 2 ? "0" : ""}${digits}`;
const bytesOf = (value: string) => Buffer.from(value.slice(2), "hex");
const hex = (bytes: Buffer) => `0x${bytes.toString("hex")}`;
