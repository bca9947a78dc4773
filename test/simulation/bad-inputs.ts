import fc from "fast-check";
import type { FastifyInstance } from "fastify";
import { KEY_MIGRATIONS } from "../../listener/api/keys.ts";
import { readConfig } from "../../listener/config.ts";
import { migrate } from "../../listener/db.ts";
import { SluiceError } from "../../listener/errors.ts";
import { WEBHOOK_MIGRATIONS } from "../../listener/webhooks/schema.ts";
import type { FaultRow, FaultRun } from "../faults/row.ts";
import { apiOf, CHAIN } from "../listener/api/support.ts";
import { type Hostile, hostileEnvironments, hostileLogs, hostileNumbers, hostileRequests } from "../support/hostile/corpus.ts";
import { keepHashes } from "../support/known-hashes.ts";
import { compareEvents } from "./compare.ts";
import { openSimulationDatabase } from "./database.ts";
import { app } from "./sim-app.ts";
import { openSimulation, type Simulation } from "./world.ts";

/** Hostile logs in one block. */
const PER_BLOCK = 25;
/** As many as a block may well hold. */
const CROWD = 10_000;

/**
 * Hostile events through journal, workers and API; questions to the API and configurations that make no sense. Of `times`,
 * half are events, a quarter each of the others; and once there are 10,000 logs in one block.
 */
export const run: FaultRun = async ({ times, seed, log }) => {
  const row: FaultRow = { fault: "bad inputs", times: 0, lost: 0, doubled: 0, wrong: 0, settledSeconds: 0 };
  const wrong = (what: string) => {
    row.wrong += 1;
    log(`bad inputs, seed ${seed}: ${what.slice(0, 500)}`);
  };
  const quarter = Math.ceil(times / 4);
  keepHashes();
  await using base = await openSimulationDatabase();
  await migrate(base.db, [...KEY_MIGRATIONS, ...WEBHOOK_MIGRATIONS]);
  const simulation = await openSimulation({ db: base.db, chainId: CHAIN, seed });
  const api = await apiOf(base.db, { app });
  try {
    const logs = fc.sample(hostileLogs, { seed, numRuns: 2 * quarter });
    for (let i = 0; i < logs.length; i += PER_BLOCK) {
      const some = logs.slice(i, i + PER_BLOCK);
      row.settledSeconds = Math.max(row.settledSeconds, await takeIn(simulation, some));
      row.times += some.length;
      for (const { what, decodes } of await shown(simulation, api, some)) wrong(`${what} (${decodes ? "ours" : "broken"})`);
    }
    const crowd = fc.sample(hostileNumbers, { seed, numRuns: CROWD / 10 });
    const all = Array.from({ length: CROWD }, (_, i) => crowd[i % crowd.length]!);
    row.settledSeconds = Math.max(row.settledSeconds, await takeIn(simulation, all));
    const difference = await compareEvents(base.db, CHAIN, simulation.chain);
    row.lost += difference.lost;
    row.doubled += difference.doubled;
    if (difference.wrong > 0) wrong(difference.first!);

    for (const url of fc.sample(hostileRequests, { seed, numRuns: quarter })) {
      const { statusCode, headers, body } = await api.inject(url);
      const answered = statusCode < 500 && /json/.test(String(headers["content-type"])) && isJson(body);
      if (!answered) wrong(`${url}: ${statusCode} ${body}`);
      row.times += 1;
    }
    for (const environment of fc.sample(hostileEnvironments, { seed, numRuns: quarter })) {
      try {
        readConfig(environment);
      } catch (error) {
        if (!(error instanceof SluiceError && error.hint)) wrong(`${JSON.stringify(environment)}: ${error}`);
      }
      row.times += 1;
    }
  } finally {
    await api.close();
    await simulation.close();
  }
  return row;
};

/** Puts logs into one block and works until nothing is open; what cannot be decoded becomes a dead letter. Gives the virtual seconds. */
async function takeIn(simulation: Simulation, logs: readonly Hostile[]): Promise<number> {
  const { chain, db, chainId, writers } = simulation;
  // In transactions of some logs each: the RLP of ethers takes time with the square of a receipt's size.
  const transactions = Array.from({ length: Math.ceil(logs.length / PER_BLOCK) }, (_, n) => logs.slice(n * PER_BLOCK, (n + 1) * PER_BLOCK));
  chain.mineRaw(transactions);
  const began = simulation.now();
  for (;;) {
    const writer = writers.at(-1);
    if (!writer) await simulation.takeOver();
    else if (!(await simulation.advance(writer))) {
      const { rows } = await db.query<{ tip_hash: string }>("select tip_hash from checkpoint where chain_id = $1", [chainId]);
      if (rows[0]!.tip_hash === chain.head.hash) break;
    }
  }
  for (let rounds = 0; ; rounds++) {
    const { rows } = await db.query<{ queue: string }>(
      "select distinct queue from deliveries where chain_id = $1 and state in ('pending', 'sent')",
      [chainId],
    );
    if (rows.length === 0) return (simulation.now() - began) / 1_000;
    if (rounds > 200) throw new Error(`stuck: ${JSON.stringify(rows)}`);
    for (const { queue } of rows) {
      while ((await simulation.relay(queue)) > 0);
      while (await simulation.work(queue));
    }
    await simulation.pass(1_000);
  }
}

/** Those of the newest block's events that the API does not show, or not in a way that is safe to show. */
async function shown({ chain, chainId }: Simulation, api: FastifyInstance, logs: readonly Hostile[]): Promise<Hostile[]> {
  const bad: Hostile[] = [];
  for (const [i, log] of logs.entries()) {
    const { statusCode, headers, body } = await api.inject(`/api/v1/events/${chainId}-${chain.head.hash}-${i}`);
    const safe = statusCode === 200 && /json/.test(String(headers["content-type"])) && isJson(body);
    const event = safe && (JSON.parse(body) as { status: string; arguments: unknown });
    const told = event && (log.decodes ? event.arguments !== null && event.status !== "undecodable" : event.status === "undecodable");
    if (!told) bad.push({ ...log, what: `${log.what}: ${statusCode} ${body.slice(0, 200)}` });
  }
  return bad;
}

/** JSON whose texts every reader can hold: without NUL and lone surrogates. */
function isJson(body: string): boolean {
  try {
    let safe = body.isWellFormed();
    JSON.parse(body, (_, value) => {
      if (typeof value === "string" && (value.includes("\0") || !value.isWellFormed())) safe = false;
      return value;
    });
    return safe;
  } catch {
    return false;
  }
}
