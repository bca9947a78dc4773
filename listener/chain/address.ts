import { getAddress } from "ethers/address";
import type { Hex } from "./types.ts";

const known = new Map<Hex, string>();
const MAX_KNOWN = 20_000;

/** The address with its EIP-55 checksum, as people and programs read it. `address` is lower-case hex of 20 bytes. */
export function checksumAddress(address: Hex): string {
  let checksummed = known.get(address);
  if (checksummed === undefined) {
    // A checksum is a Keccak hash, and a page of events names the same few accounts again and again.
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(address, (checksummed = getAddress(address)));
  }
  return checksummed;
}

/**
 * The address in lower case.
 *
 * @throws Error that says what is wrong: not 20 bytes of hex, or of mixed case with another checksum
 */
export function parseAddress(text: string): Hex {
  if (!/^0x[0-9a-fA-F]{40}$/.test(text)) throw new Error("expected an address: 0x and 40 hexadecimal digits");
  try {
    return getAddress(text).toLowerCase();
  } catch {
    throw new Error("the address has a wrong checksum: check it for a typing error, or write it in lower case");
  }
}
