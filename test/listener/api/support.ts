import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AbiCoder, Interface, type InterfaceAbi, id } from "ethers";
import type { FastifyInstance } from "fastify";
import pg from "pg";
import pino from "pino";
import { z } from "zod";
import { KEY_MIGRATIONS } from "../../../listener/api/keys.ts";
import type { Read } from "../../../listener/api/read.ts";
import { type ApiOptions, createApi } from "../../../listener/api/server.ts";
import type { App } from "../../../listener/app.ts";
import type { BlockRef, Header, Log } from "../../../listener/chain/types.ts";
import { contracts } from "../../../listener/dapp/contracts.ts";
import { reads } from "../../../listener/dapp/reads.ts";
import { app } from "../../../listener/dapp/routes.ts";
import { type Db, migrate, openDb } from "../../../listener/db.ts";
import { openPostgres } from "../../../listener/embedded/postgres.ts";
import { type Journal, openJournal, type Recorded } from "../../../listener/journal/journal.ts";
import { JOURNAL_MIGRATIONS } from "../../../listener/journal/schema.ts";
import type { DeliveryJob, QueueBackend } from "../../../listener/queues/backend.ts";
import { WEBHOOK_MIGRATIONS } from "../../../listener/webhooks/schema.ts";
import { startWorkers } from "../../../listener/worker/worker.ts";

export const CHAIN = 31337;
export const TOKEN = "0x5fbdb2315678afecb367f032d93f642f64180aa3";
export const silent = pino({ level: "silent" });
const token = new Interface(contracts.SluiceToken as unknown as InterfaceAbi);

/** A real database of its own for a test file: on a given server, or on one that is started for it. */
export async function openTestDb(): Promise<{ db: Db; url: string; close(): Promise<void> }> {
  const server = process.env.SLUICE_TEST_DATABASE_URL;
  if (!server) {
    const dataDir = mkdtempSync(join(tmpdir(), "sluice-api-"));
    const postgres = await openPostgres({ dataDir });
    return opened(postgres.url, async () => {
      await postgres.close();
      rmSync(dataDir, { recursive: true, force: true });
    });
  }
  const name = `sluice_test_${randomBytes(6).toString("hex")}`;
  const run = async (statement: string) => {
    const client = new pg.Client(server);
    await client.connect();
    await client.query(statement).finally(() => client.end());
  };
  await run(`create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return opened(url.toString(), () => run(`drop database ${name} with (force)`));
}

async function opened(url: string, drop: () => Promise<void>) {
  const db = openDb(url, { name: "sluice-test" });
  await migrate(db, [...JOURNAL_MIGRATIONS, ...KEY_MIGRATIONS, ...WEBHOOK_MIGRATIONS, ...app.migrations]);
  return {
    db,
    url,
    async close() {
      await db.end();
      await drop();
    },
  };
}

/** An account that is easy to recognise: `account(1)`, `account(2)`. Lower case. */
export const account = (n: number) => `0x${n.toString(16).padStart(40, "a")}`;
export const hashOf = (name: string) => id(name);

/** What a contract of ours emits, before it has its place in a block. */
export type Emitted = Pick<Log, "address" | "topics" | "data">;

/** A log of the token, encoded by its ABI. */
export function emit(event: string, ...values: unknown[]): Emitted {
  const { topics, data } = token.encodeEventLog(event, values);
  return { address: TOKEN, topics: topics as string[], data };
}
export const transfer = (from: string, to: string, value: bigint) => emit("Transfer", from, to, value);
export const registered = (who: string, name: string, grant = 0n) => emit("Registered", who, name, grant, 1n);
/** A Transfer whose data was cut short, as no contract of ours emits it. */
export const broken = (): Emitted => {
  const pad = (address: string) => AbiCoder.defaultAbiCoder().encode(["address"], [address]);
  return { address: TOKEN, topics: [id("Transfer(address,address,uint256)"), pad(account(1)), pad(account(2))], data: "0x01" };
};

export const BASE_TIME = 1_700_000_000;

/** A chain that the journal is told about by hand, and workers that work when they are told to. */
export type World = {
  db: Db;
  journal: Journal;
  /** A block with these logs on the tip. `fork` names the branch: another name, another hash. */
  extend(logs?: Emitted[], options?: { fork?: string; head?: number }): Promise<Recorded>;
  /** Takes everything above a block back. */
  reorg(to: number): Promise<Recorded>;
  finalize(number: number): Promise<Recorded>;
  tip(): BlockRef;
  /** Sends and works off what is pending, in order, in these queues or in all: `limit` deliveries of each at most. */
  work(options?: { queues?: readonly string[]; limit?: number }): Promise<void>;
  /** Takes or drops the lease. */
  lead(leads: boolean): Promise<void>;
};

export async function createWorld(db: Db, given: { app?: App; chainId?: number; start?: number } = {}): Promise<World> {
  const { chainId = CHAIN, start = 1 } = given;
  const application = given.app ?? app;
  await db.query("insert into checkpoint (chain_id, genesis_hash, start_block) values ($1, $2, $3)", [chainId, hashOf("genesis"), start]);
  const journal = openJournal({
    db,
    chainId,
    epoch: 0,
    app: application,
    contracts: [{ name: "SluiceToken", decoders: application.contracts.get("SluiceToken")!, address: TOKEN }],
  });
  await journal.checkpoint();
  const blocks: Header[] = [];
  const { runs } = startHandWorkers(db, application, chainId);

  return {
    db,
    journal,
    tip: () => blocks.at(-1)!,
    async extend(logs = [], { fork = "a", head = 0 } = {}) {
      const number = blocks.at(-1) ? blocks.at(-1)!.number + 1 : start;
      const hash = hashOf(`${fork}${number}`);
      const timestamp = BASE_TIME + number * 12;
      const header = { number, hash, parentHash: blocks.at(-1)?.hash ?? hashOf("genesis"), timestamp, logsBloom: "0x" };
      blocks.push(header);
      return journal.record({
        type: "extend",
        headers: [header],
        head: Math.max(head, number),
        seenAt: new Date(timestamp * 1_000),
        logs: logs.map((log, logIndex) => ({
          ...log,
          blockNumber: number,
          blockHash: hash,
          blockTimestamp: timestamp,
          transactionHash: hashOf(`tx ${hash} ${logIndex >> 1}`),
          transactionIndex: logIndex >> 1,
          logIndex,
        })),
      });
    },
    reorg(to) {
      const removed = blocks.splice(blocks.findIndex(({ number }) => number === to) + 1).reverse();
      return journal.record({ type: "reorg", ancestor: blocks.at(-1)!, removed });
    },
    finalize: number => journal.record({ type: "finalize", block: blocks.find(block => block.number === number)! }),
    async work({ queues = application.routes.map(({ queue }) => queue), limit = 1_000 } = {}) {
      for (const queue of queues) {
        const { rows } = await db.query<{ position: number }>(
          "select position from deliveries where chain_id = $1 and queue = $2 and state = 'pending' order by position limit $3",
          [chainId, queue, limit],
        );
        for (const { position } of rows) {
          await db.query(
            "update deliveries set state = 'sent', sent_at = now(), sends = 1 where chain_id = $1 and queue = $2 and position = $3",
            [chainId, queue, position],
          );
          await runs.get(queue)!(position);
        }
      }
    },
    async lead(leads) {
      await db.query(
        "update checkpoint set writer = 'writer-1', lease_until = clock_timestamp() + $2 * interval '1 minute' where chain_id = $1",
        [chainId, leads ? 1 : -1],
      );
    },
  };
}

/** The real workers on a backend that hands over a job when a test says so, and again until it is settled. */
function startHandWorkers(db: Db, application: App, chainId: number) {
  const runs = new Map<string, (position: number) => Promise<void>>();
  const backend = {
    kind: "postgres",
    openWorker(_: number, queue: string, run: (job: DeliveryJob) => Promise<void>) {
      runs.set(queue, async position => {
        for (let failed = true; failed; ) {
          failed = await run({ data: { chainId, queue, position } } as DeliveryJob).then(
            () => false,
            () => true,
          );
        }
      });
      return { on() {}, close: async () => {} };
    },
  } as unknown as QueueBackend;
  startWorkers({ app: application, db, backend, chainId, log: silent });
  return { runs };
}

/** The API of this application without a socket. */
export function apiOf(
  db: Db,
  given: Partial<Omit<ApiOptions, "config">> & { config?: Partial<ApiOptions["config"]>; more?: readonly Read[] } = {},
) {
  return createApi({
    app,
    reads: [...reads, ...(given.more ?? [])],
    db,
    chainId: CHAIN,
    log: silent,
    ...given,
    config: { host: "127.0.0.1", port: 0, apiKeys: [], maxLag: 10, ...given.config },
  });
}

// biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of the JSON
type Json = any;

/** Asks below /api/v1 and gives the body, where the status is the expected one. */
export async function ask(api: FastifyInstance, path: string, status = 200): Promise<Json> {
  const response = await api.inject(`/api/v1/${path}`);
  if (response.statusCode !== status) throw new Error(`${path}: ${response.statusCode}, expected ${status}: ${response.body}`);
  return response.json();
}

/** Every item of a list, page by page. */
export async function askAll(api: FastifyInstance, path: string, limit: number): Promise<Json[]> {
  const items: Json[] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const page: Json = await ask(api, `${path}${path.includes("?") ? "&" : "?"}limit=${limit}${cursor ? `&cursor=${cursor}` : ""}`);
    if (page.items.length > limit) throw new Error(`${page.items.length} items on a page of ${limit}`);
    items.push(...page.items);
    cursor = page.nextCursor;
  }
  return items;
}

/** The response schema of a path in an OpenAPI document, such as `/api/v1/accounts/{address}`, as something that validates. */
export function describedBy(document: Json, path: string): z.ZodType {
  return z.fromJSONSchema(document.paths[path].get.responses[200].content["application/json"].schema);
}
