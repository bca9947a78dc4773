import { AsyncLocalStorage } from "node:async_hooks";
import { randomBytes } from "node:crypto";
import { SluiceError } from "../errors.ts";
import type { Intercept, Network } from "./chain-network.ts";
import type { ChainRecord, RecordedTransaction } from "./chain-record.ts";
import { blockAt, isMadeUp, type RpcBlock, recorded, send } from "./chain-replay.ts";

/** A point that the chain can go back to: the head then, and how long the record was. */
export type Snapshot = { id: string; number: number; position: number };

/**
 * Takes the last `depth` blocks back and mines one more than it took; the ancestor is the last block that stays. Their
 * transactions are gone unless `keepTransactions`, which mines them again in the first new block.
 * The depth that was possible may be greater, where one call made several blocks. Throws SluiceError where `depth` is not
 * 1 to 12 or there are too few blocks.
 */
export type Reorg = (options: {
  depth: number;
  keepTransactions?: boolean;
}) => Promise<{ depth: number; ancestor: { number: number; hash: string }; head: { number: number; hash: string } }>;

/** Calls that may make blocks. */
const MINING = new Set(["eth_sendTransaction", "eth_sendRawTransaction", "evm_mine", "evm_setAutomine"]);

/** Calls that change the state or the next block without a transaction, and so must be repeated. */
const STATE = new Set([
  "evm_setBlockGasLimit",
  "hardhat_impersonateAccount",
  "hardhat_setBalance",
  "hardhat_setCode",
  "hardhat_setCoinbase",
  "hardhat_setMinGasPrice",
  "hardhat_setNextBlockBaseFeePerGas",
  "hardhat_setNonce",
  "hardhat_setPrevRandao",
  "hardhat_setStorageAt",
  "hardhat_stopImpersonatingAccount",
]);

const POLL_MS = 250;

/** Nobody takes more back by accident: a `hardhat_mine` of a hundred blocks has no point to go back to in between. */
const MAX_DEPTH = 12;

/**
 * Records what happens to a chain from now on. Calls that change it run one after the other and are answered when they
 * are recorded; the others are not held up. A poll finds blocks that came without a call (evm_setIntervalMining): a
 * subscription would go silent after five minutes.
 *
 * `snapshots` holds points to go back to, oldest first, at least one, and the last one is the head.
 */
export function recordChain(on: { network: Network; record: ChainRecord; snapshots: Snapshot[]; log: (line: string) => void }) {
  const { record, snapshots } = on;
  const { request } = on.network;
  const inside = new AsyncLocalStorage<true>();
  let head = snapshots.at(-1)!.number;
  let failed = false;
  let queue: Promise<unknown> = Promise.resolve();

  function alone<T>(work: () => Promise<T>): Promise<T> {
    const done = queue.then(() => inside.run(true, work));
    queue = done.catch(() => {});
    return done;
  }

  const intercept: Intercept = (method, params, call) => {
    if (failed || inside.getStore()) return call();
    if (STATE.has(method)) return alone(() => changeState(method, params, call));
    if (MINING.has(method)) return alone(() => call().finally(catchUp));
    if (method === "hardhat_mine") return alone(() => mineMany(params, call));
    if (method === "evm_snapshot") return alone(() => takeSnapshot(call));
    if (method === "evm_revert") return alone(() => revert(String(params[0]), call));
    return call();
  };

  const changeState = async (method: string, params: unknown[], call: () => ReturnType<Intercept>) => {
    await catchUp();
    const response = await call();
    if ("result" in response) record.append({ method, params });
    return response;
  };

  /** Records the blocks that came since the last time. A failure ends the recording, never the caller's work. */
  const catchUp = (): Promise<void> =>
    recording(async () => {
      const number = await blockNumber();
      if (number === head) return;
      while (head < number) {
        const block = await mined(head + 1);
        record.append({ time: Number(block.timestamp), hash: block.hash, transactions: block.transactions.map(recorded) });
        head++;
      }
      await remember();
    });

  /** hardhat_mine makes up the middle blocks of a long run when they are asked for, and only the same call brings them back. */
  const mineMany = async (params: unknown[], call: () => ReturnType<Intercept>) => {
    await catchUp();
    const response = await call();
    await recording(async () => {
      const number = await blockNumber();
      const count = number - head;
      if (count < 2) return catchUp();
      const first = await mined(head + 1);
      const last = await mined(number);
      const transactions: RecordedTransaction[] = [];
      for (let at = head + 1, block = first; at < number && !isMadeUp(block); block = await mined(++at)) {
        transactions.push(...block.transactions.map(recorded));
      }
      transactions.push(...last.transactions.map(recorded));
      record.append({ time: Number(first.timestamp), hash: last.hash, transactions, count, interval: Number(params[1] ?? 1) });
      head = number;
      await remember();
    });
    return response;
  };

  const takeSnapshot = async (call: () => ReturnType<Intercept>) => {
    await catchUp();
    const response = await call();
    if ("result" in response) snapshots.push({ id: String(response.result), number: head, position: record.position() });
    return response;
  };

  const revert = async (id: string, call: () => ReturnType<Intercept>) => {
    await catchUp();
    const response = await call();
    if (!("result" in response)) return response;
    if (response.result === true) await recording(async () => wentBackTo(id));
    else dropFrom(id);
    return response;
  };

  function wentBackTo(id: string): void {
    const at = snapshots.findIndex(snapshot => BigInt(snapshot.id) === BigInt(id));
    if (at < 0) throw new Error(`the chain went back to snapshot ${id}, which is not known`);
    const { number, position } = snapshots[at]!;
    dropFrom(id);
    record.truncate(position);
    head = number;
  }

  /** A snapshot is used up by going back to it, and so are those after it; also by trying to where it is used up already. */
  function dropFrom(id: string): void {
    const at = snapshots.findIndex(snapshot => BigInt(snapshot.id) >= BigInt(id));
    if (at >= 0) snapshots.length = at;
  }

  const reorg: Reorg = ({ depth, keepTransactions = false }) =>
    alone(async () => {
      await catchUp();
      const target = snapshots.findLast(snapshot => snapshot.number <= head - depth);
      const removed = head - (target?.number ?? 0);
      if (depth < 1 || !target || removed > MAX_DEPTH) {
        throw new SluiceError(`the local chain cannot take back ${depth} blocks at block ${head}`, {
          hint: `ask for 1 to ${MAX_DEPTH}, and wait until there are as many that were not mined by one call`,
        });
      }
      const transactions = keepTransactions ? await transactionsAfter(target.number) : [];
      if (!(await request("evm_revert", [target.id]))) throw new Error(`snapshot ${target.id} is gone`);
      wentBackTo(target.id);
      await remember();
      const ancestor = await mined(target.number);
      await mineOthers(removed + 1, ancestor, transactions);
      await catchUp();
      const { hash } = await mined(head);
      return { depth: removed, ancestor: { number: target.number, hash: ancestor.hash }, head: { number: head, hash } };
    });

  /** Blocks that cannot be the ones that were taken back, for their randomness is another. The first one sets the clock right. */
  async function mineOthers(count: number, ancestor: RpcBlock, transactions: RecordedTransaction[]): Promise<void> {
    const automine = await request<boolean>("hardhat_getAutomine");
    const randomness = `0x${randomBytes(32).toString("hex")}`;
    await request("evm_setAutomine", [false]);
    await request("hardhat_setPrevRandao", [randomness]);
    record.append({ method: "hardhat_setPrevRandao", params: [randomness] });
    for (const transaction of transactions) await send(request, transaction);
    await request("evm_mine", [Math.max(Math.floor(Date.now() / 1000), Number(ancestor.timestamp))]);
    for (let at = 1; at < count; at++) await request("evm_mine");
    await request("evm_setAutomine", [automine]);
  }

  async function transactionsAfter(number: number): Promise<RecordedTransaction[]> {
    const transactions: RecordedTransaction[] = [];
    for (let at = number + 1; at <= head; at++) transactions.push(...(await mined(at)).transactions.map(recorded));
    return transactions;
  }

  async function remember(): Promise<void> {
    snapshots.push({ id: await request<string>("evm_snapshot"), number: head, position: record.position() });
  }

  async function recording(work: () => Promise<void>): Promise<void> {
    if (failed) return;
    try {
      await work();
    } catch (error) {
      failed = true;
      on.log(`the local chain goes on but is no longer recorded: a restart resumes at block ${head} (${(error as Error).message})`);
    }
  }

  const blockNumber = async (): Promise<number> => Number(await request("eth_blockNumber"));

  async function mined(number: number): Promise<RpcBlock> {
    const block = await blockAt(request, number);
    if (!block) throw new Error(`block ${number} is gone`);
    return block;
  }

  let polling = false;
  const timer = setInterval(() => {
    if (polling || failed) return;
    polling = true;
    alone(catchUp)
      .then(() => recording(async () => record.flush()))
      .finally(() => {
        polling = false;
      });
  }, POLL_MS);
  timer.unref();
  on.network.intercept(intercept);

  return {
    reorg,
    /** Ends when everything that was called is recorded. */
    async stop(): Promise<void> {
      clearInterval(timer);
      await alone(catchUp);
    },
  };
}
