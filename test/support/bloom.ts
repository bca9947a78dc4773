import { keccak256 } from "ethers";
import type { Hex, Log } from "../../listener/chain/types.ts";

const masks = new Map<Hex, bigint>();

function maskOf(value: Hex): bigint {
  let mask = masks.get(value);
  if (mask === undefined) {
    const hash = Buffer.from(keccak256(Buffer.from(value.slice(2), "hex")).slice(2), "hex");
    mask = [0, 2, 4].reduce((bits, at) => bits | (1n << BigInt((hash[at]! * 256 + hash[at + 1]!) % 2048)), 0n);
    if (masks.size >= 10_000) masks.clear();
    masks.set(value, mask);
  }
  return mask;
}

/** The bloom of a block with these logs (Yellow Paper, 4.3.1), written apart from the code that reads it. */
export function bloomOf(logs: readonly Pick<Log, "address" | "topics">[]): Hex {
  let bits = 0n;
  for (const { address, topics } of logs) for (const value of [address, ...topics]) bits |= maskOf(value);
  return `0x${bits.toString(16).padStart(512, "0")}`;
}
