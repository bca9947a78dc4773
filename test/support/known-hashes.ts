import { keccak256 } from "ethers";

/** Hashes that are kept at most: a few MB. */
const KEPT = 10_000;

const known = new Map<string, Uint8Array>();

/**
 * Lets ethers look a hash up that it made before. Where the chain is simulated in the process that checks it, most are asked for
 * again: a header's by every listener and audit, an address's by every bloom.
 */
export function keepHashes(): void {
  const { _: hash } = keccak256;
  keccak256.register(data => {
    const key = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("latin1");
    let found = known.get(key);
    if (!found) {
      if (known.size >= KEPT) known.clear();
      known.set(key, (found = hash(data) as Uint8Array));
    }
    return found;
  });
}
