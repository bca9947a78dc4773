import { getBytes, hexlify, keccak256 } from "ethers";
import type { Hex, Log } from "../../listener/chain/types.ts";

/** The bloom of a block with these logs (Yellow Paper, 4.3.1), written apart from the code that reads it. */
export function bloomOf(logs: readonly Pick<Log, "address" | "topics">[]): Hex {
  let bits = 0n;
  for (const { address, topics } of logs) {
    for (const value of [address, ...topics]) {
      const hash = getBytes(keccak256(value));
      for (const at of [0, 2, 4]) bits |= 1n << BigInt(((hash[at]! * 256 + hash[at + 1]!) % 2048) as number);
    }
  }
  return hexlify(`0x${bits.toString(16).padStart(512, "0")}`);
}
