import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { AbiCoder, keccak256 } from "ethers";

/** Everything that a digest binds except the nonce, and what the digest must not exceed. */
export interface Work {
  chainId: bigint;
  token: string;
  challenge: string;
  beneficiary: string;
  target: bigint;
}

export interface Solution {
  nonce: bigint;
  digest: string;
}

/** The digest of one nonce, as the contract computes it. */
export function digestOf(work: Work, nonce: bigint): string {
  const types = ["uint256", "address", "bytes32", "address", "uint256"];
  return keccak256(AbiCoder.defaultAbiCoder().encode(types, [work.chainId, work.token, work.challenge, work.beneficiary, nonce]));
}

/**
 * Tries the nonces from `start` on, `tries` of them.
 *
 * The preimage is encoded once: only its last eight bytes differ from nonce to nonce.
 */
export function search(work: Work, start: bigint, tries: number): Solution | undefined {
  const types = ["uint256", "address", "bytes32", "address", "uint256"];
  const encoded = AbiCoder.defaultAbiCoder().encode(types, [work.chainId, work.token, work.challenge, work.beneficiary, start]);
  const preimage = Buffer.from(encoded.slice(2), "hex");
  const target = `0x${work.target.toString(16).padStart(64, "0")}`;
  for (let nonce = start; nonce < start + BigInt(tries); nonce++) {
    preimage.writeBigUInt64BE(nonce & 0xffff_ffff_ffff_ffffn, preimage.length - 8);
    const digest = keccak256(preimage);
    // Both have 64 lower-case hexadecimal digits, so the order of texts is the order of numbers.
    if (digest <= target) return { nonce, digest };
  }
  return undefined;
}

/** What a worker thread (miner.ts) is given and what it answers. */
export type MinerTask = Work & { start: bigint; tries: number };
export type MinerMessage = { tried: number } | { solution: Solution };

/**
 * Searches in worker threads, each in a range of nonces of its own.
 *
 * @param options.signal Aborting ends the search with undefined, for example because somebody else solved the challenge.
 * @param options.onProgress Told after every 20,000 digests of a thread how many were tried in all.
 */
export async function searchInThreads(
  work: Work,
  options: { threads?: number; signal?: AbortSignal; onProgress?: (tried: number) => void } = {},
): Promise<Solution | undefined> {
  const { threads = availableParallelism(), signal, onProgress } = options;
  if (signal?.aborted) return undefined;
  const workers: Worker[] = [];
  let tried = 0;
  try {
    return await new Promise<Solution | undefined>((resolve, reject) => {
      signal?.addEventListener("abort", () => resolve(undefined), { once: true });
      // Ranges start at random, so that two people who mine for the same beneficiary do not repeat each other.
      const origin = BigInt(Math.floor(Math.random() * 2 ** 20)) << 40n;
      for (let index = 0; index < threads; index++) {
        const workerData: MinerTask = { ...work, start: origin + (BigInt(index) << 32n), tries: 20_000 };
        const worker = new Worker(new URL("./miner.ts", import.meta.url), { workerData });
        worker.on("message", (message: MinerMessage) => {
          if ("solution" in message) resolve(message.solution);
          else onProgress?.((tried += message.tried));
        });
        worker.on("error", reject);
        workers.push(worker);
      }
    });
  } finally {
    await Promise.all(workers.map(worker => worker.terminate()));
  }
}
