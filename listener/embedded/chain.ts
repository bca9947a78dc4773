import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SluiceError } from "../errors.ts";
import { createNetwork, type Network } from "./chain-network.ts";
import { type Entry, type Header, openRecord, readRecord } from "./chain-record.ts";
import { type Reorg, recordChain, type Snapshot } from "./chain-recorder.ts";
import { blockAt, type Request, replay } from "./chain-replay.ts";
import { acquireProcessLock, type ProcessLock } from "./process-lock.ts";

/** Reorgs of the blocks before a restart are possible to this depth. */
const SNAPSHOTS_OF_A_REPLAY = 13;

/** A replay of so many blocks takes a second or more, and is announced. */
const LONG_REPLAY = 2000;

export type ChainOptions = {
  dataDir: string;
  /** 0, the default, takes a free one. */
  port?: number;
  /** A block per transaction at once, or one every `interval` milliseconds whether there are any or not. Default `auto`. */
  mining?: "auto" | { interval: number };
  log?: (line: string) => void;
};

export type LocalChain = {
  url: string;
  wsUrl: string;
  /** The same over restarts, another after a reset: what `hardhat_metadata.instanceId` cannot be. */
  identity: string;
  /** What was taken up again, in blocks and milliseconds. */
  resumed: { blocks: number; milliseconds: number };
  request: Request;
  reorg: Reorg;
  close(): Promise<void>;
};

/**
 * Starts the embedded Hardhat chain of a data directory on 127.0.0.1, where it was when it was last closed or killed.
 *
 * Hardhat's chain lives in memory and has no dump of its state. But it is a function of what happened to it, so that is
 * recorded, in `<dataDir>/chain/record.jsonl`, before the caller has the answer; a start repeats it, and the same blocks
 * come out, hash for hash. Transactions that were not mined yet are not kept.
 *
 * Throws SluiceError with a hint if the port is taken, if another process runs this chain, or if the record does not
 * reproduce.
 */
export async function startChain(options: ChainOptions): Promise<LocalChain> {
  const started = performance.now();
  const log = options.log ?? (() => {});
  const folder = join(options.dataDir, "chain");
  mkdirSync(folder, { recursive: true });
  const lock = await lockChain(folder);
  let network: Network | undefined;
  try {
    const file = join(folder, "record.jsonl");
    const found = readRecord(file);
    const genesisTime = found?.header.genesisTime ?? Math.floor(Date.now() / 1000);
    network = await createNetwork({ genesisTime, port: options.port ?? 0 });
    const header = await headerOf(network, genesisTime, found?.header);
    if (found && found.entries.length > LONG_REPLAY) log(`resuming the local chain: ${found.entries.length} blocks`);
    const record = openRecord(file, found ? { length: found.positions.at(-1)! } : { header });
    const snapshots = await resume(network.request, found?.entries ?? [], found?.positions ?? [record.position()]);
    const resumed = { blocks: Number(await network.request("eth_blockNumber")), milliseconds: Math.round(performance.now() - started) };
    const recorder = recordChain({ network, record, snapshots, log });
    const stopMining = await startMining(network.request, options.mining ?? "auto");
    const port = await network.listen();
    const url = `http://127.0.0.1:${port}`;
    writeFileSync(join(folder, "url"), url);
    const running = network;
    let closing: Promise<void> | undefined;
    const close = async (): Promise<void> => {
      stopMining();
      await recorder.stop();
      await running.close();
      record.close();
      rmSync(join(folder, "url"), { force: true });
      lock.release();
    };
    return {
      url,
      wsUrl: `ws://127.0.0.1:${port}`,
      identity: header.identity,
      resumed,
      request: network.request,
      reorg: recorder.reorg,
      close: () => (closing ??= close()),
    };
  } catch (error) {
    await network?.close();
    lock.release();
    throw error;
  }
}

/** Removes the local chain of `dataDir`; answers false if there was none. Throws SluiceError while a process runs it. */
export async function resetChain(options: { dataDir: string }): Promise<boolean> {
  const folder = join(options.dataDir, "chain");
  if (!existsSync(folder)) return false;
  const lock = await lockChain(folder);
  for (const name of ["record.jsonl", "url"]) rmSync(join(folder, name), { force: true });
  lock.release();
  return true;
}

async function lockChain(folder: string): Promise<ProcessLock> {
  try {
    return await acquireProcessLock(join(folder, "lock"), 0);
  } catch (cause) {
    if (!(cause instanceof SluiceError && cause.retryable)) throw cause;
    const url = existsSync(join(folder, "url")) ? readFileSync(join(folder, "url"), "utf8") : "somewhere";
    throw new SluiceError(`the local chain of this data directory runs already, at ${url}`, {
      hint: `stop the other process, set RPC_URL=${url} to use its chain, or give DATA_DIR another directory`,
      cause,
    });
  }
}

async function headerOf(network: Network, genesisTime: number, found: Header | undefined): Promise<Header> {
  const genesisHash = (await blockAt(network.request, 0))!.hash;
  if (found && found.genesisHash !== genesisHash) {
    throw new SluiceError("the local chain cannot be resumed: its first block does not come out as it was", {
      hint: "`npm run reset` starts a new chain; this happens after an update of Hardhat",
    });
  }
  return found ?? { version: 1, identity: randomUUID(), genesisTime, genesisHash };
}

/** Repeats the record and sets the clock to the present. Answers snapshots of the last blocks, so that they can be reorged. */
async function resume(request: Request, entries: readonly Entry[], positions: readonly number[]): Promise<Snapshot[]> {
  const snapshots: Snapshot[] = [];
  const first = entries.length - SNAPSHOTS_OF_A_REPLAY;
  const snapshot = async (number: number, position: number): Promise<void> => {
    snapshots.push({ id: await request<string>("evm_snapshot"), number, position });
  };
  if (first <= 0) await snapshot(0, positions[0]!);
  await replay(request, entries, async (index, number) => {
    if (index >= first) await snapshot(number, positions[index + 1]!);
  });
  await catchUpClock(request);
  return snapshots;
}

/** After a replay the chain's clock stands where the last block was. It can only be moved on. */
async function catchUpClock(request: Request): Promise<void> {
  const { timestamp } = await request<{ timestamp: string }>("eth_getBlockByNumber", ["pending", false]);
  const behind = Math.floor(Date.now() / 1000) - Number(timestamp);
  if (behind > 0) await request("evm_increaseTime", [behind]);
}

/** Answers how to stop the interval. The timer is ours: a block that Hardhat's mines could fall between a call and its record. */
async function startMining(request: Request, mining: "auto" | { interval: number }): Promise<() => void> {
  if (mining === "auto") {
    await request("evm_setAutomine", [true]);
    return () => {};
  }
  const timer = setInterval(() => request("evm_mine").catch(() => {}), mining.interval);
  return () => clearInterval(timer);
}
