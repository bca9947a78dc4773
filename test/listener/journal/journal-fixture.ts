import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import pino from "pino";
import { type App, defineApp, type Projection, type Route } from "../../../listener/app.ts";
import { type ContractAt, compileEvents } from "../../../listener/chain/events.ts";
import { type CallOptions, type Rpc, RpcError } from "../../../listener/chain/rpc.ts";
import { nodeSource } from "../../../listener/chain/source.ts";
import type { ChainSource, Hex, LogFilter } from "../../../listener/chain/types.ts";
import { type Db, migrate, openDb } from "../../../listener/db.ts";
import { openPostgres } from "../../../listener/embedded/postgres.ts";
import { JOURNAL_MIGRATIONS } from "../../../listener/journal/schema.ts";
import { hashOf as hashOfName, nameOf } from "../../support/scripted-chain.ts";

export const CHAIN = 7;
export const silent = pino({ level: "silent" });

/** A Postgres of this test file's own; each call gives an empty, migrated database in it. */
export async function openDatabases(): Promise<(app: App) => Promise<Db>> {
  const dataDir = mkdtempSync(join(tmpdir(), "sluice-journal-"));
  const postgres = await openPostgres({ dataDir });
  const server = openDb(postgres.url, { max: 1 });
  const opened: Db[] = [server];
  after(async () => {
    await Promise.all(opened.map(db => db.end()));
    await postgres.close();
    rmSync(dataDir, { recursive: true, force: true });
  });
  let count = 0;
  return async app => {
    const name = `test_${++count}`;
    await server.query(`create database ${name}`);
    const url = new URL(postgres.url);
    url.pathname = `/${name}`;
    const db = openDb(url.toString());
    opened.push(db);
    await migrate(db, [...JOURNAL_MIGRATIONS, ...app.migrations]);
    return db;
  };
}

/** A projection that does nothing: what counts here are its deliveries. */
export const idle = (name: string): Projection<never> => ({
  name,
  tables: [],
  migrations: [],
  async apply() {},
  async revert() {},
});

const signature = (name: string) => ({ type: "event", name, inputs: [{ name: "value", type: "uint256", indexed: false }] }) as const;

/** An application whose contracts have events of one number: `appOf({ One: ["A", "B"] }, [route…])`. */
export const appOf = (contracts: Record<string, string[]>, routes: readonly Route[]): App =>
  defineApp({ contracts: Object.fromEntries(Object.entries(contracts).map(([name, events]) => [name, events.map(signature)])), routes });

export const addressOf = (digit: number): Hex => `0x${String(digit).repeat(40)}`;
export const topicOf = (event: string): Hex => compileEvents([signature(event)])[0]!.topic;

export const contractAt = (app: App, name: string, digit: number): ContractAt => ({
  name,
  decoders: app.contracts.get(name)!,
  address: addressOf(digit),
});

/** What happens in each block: `{ 3: ["1 A", "2 B"] }` is event A of contract 1 and event B of contract 2 in block 3. */
export type Happenings = Record<number, string[]>;

/** A node whose chain has `length` blocks above the genesis block. Above the final ones its blocks go by the branch's letter. */
export function chainOf(happenings: Happenings, options: { length: number; final: number; branch?: string }) {
  const hashOf = (number: number) => hashOfName(`${number > options.final ? (options.branch ?? "a") : "a"}${number}`);
  const numberOf = (hash: Hex) => Number(nameOf(hash).slice(1));
  const hex = (number: number): Hex => `0x${number.toString(16)}`;
  const header = (number: number) =>
    number >= 0 && number <= options.length
      ? { number: hex(number), hash: hashOf(number), parentHash: hashOf(Math.max(0, number - 1)), timestamp: hex(1_000 + number) }
      : null;
  const logs = (number: number) =>
    (happenings[number] ?? []).map((text, logIndex) => {
      const [digit, event] = text.split(" ") as [string, string];
      return {
        blockNumber: hex(number),
        blockHash: hashOf(number),
        transactionHash: hashOfName(`tx${number}`),
        transactionIndex: "0x0",
        logIndex: hex(logIndex),
        address: addressOf(Number(digit)),
        topics: [topicOf(event)],
        data: `0x${number.toString(16).padStart(64, "0")}`,
      };
    });
  type Asked = { fromBlock: Hex; toBlock: Hex; blockHash?: Hex; address: Hex[]; topics: [Hex[]] };
  const answers: Record<string, (argument: never) => unknown> = {
    eth_getBlockByNumber: (at: string) => header(at === "latest" ? options.length : at === "finalized" ? options.final : Number(at)),
    eth_getBlockByHash: (hash: string) => (hashOf(numberOf(hash)) === hash ? header(numberOf(hash)) : null),
    eth_getLogs({ fromBlock, toBlock, blockHash, address, topics }: Asked) {
      const [from, to] = blockHash ? [numberOf(blockHash), numberOf(blockHash)] : [Number(fromBlock), Number(toBlock)];
      if (blockHash && hashOf(from) !== blockHash) throw new RpcError("eth_getLogs", -32_000, "unknown block");
      const all = Array.from({ length: to - from + 1 }, (_, i) => logs(from + i)).flat();
      return all.filter(log => address.includes(log.address) && topics[0].includes(log.topics[0]!));
    },
  };
  const rpc: Rpc = {
    async call<T>(method: string, [argument]: readonly unknown[], options?: CallOptions<T>) {
      const answer = answers[method]!(argument as never);
      return options?.check ? options.check(answer, "fixture") : (answer as T);
    },
    accuse() {},
    nodes: () => [],
    onNewHead() {},
    close() {},
  };
  return { rpc, sourceFor: (filter: LogFilter) => sourceOn(rpc, filter) };
}

export const sourceOn = (rpc: Rpc, filter: LogFilter): ChainSource =>
  nodeSource({ rpc, filter, finality: "finalized", verify: "off", pollInterval: 10, signal: new AbortController().signal, log: silent });
