import { sleep } from "../../listener/db.ts";
import { type Random, randomFrom } from "../../scripts/support/random.ts";
import { eventually } from "../support/eventually.ts";
import { openOwnPostgres } from "../support/own-postgres.ts";
import type { Running } from "../support/processes.ts";
import { openTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { openWorld, type WorldOptions } from "../support/world.ts";
import { compareWithChain } from "./comparison.ts";
import type { FaultOptions, FaultRow } from "./row.ts";

/** A process that is started again whenever it ended, behind proxies of its own where the row asks for them. */
export type Kept = {
  command: string;
  postgres?: TcpProxy | undefined;
  redis?: TcpProxy | undefined;
  /** The process that runs now. */
  running(): Running;
  /** SIGKILL, now. */
  kill(): void;
  /** Resolves when the killed one is gone and the next one has been started. */
  replaced(): Promise<void>;
  /** Resolves when the process that runs now said that it does its work, or ended. */
  ready(timeout?: number): Promise<unknown>;
};

export type SiteOptions = {
  redis: WorldOptions["redis"];
  node?: WorldOptions["node"];
  settings?: NodeJS.ProcessEnv;
  /** Before which servers each process has a proxy, whose passing on costs as much as all else here: none unless told. */
  proxies?: readonly ("postgres" | "redis")[];
  seed: number;
};

/** What each command says when it does its work. A listener that stands by does its own. */
const READY: Record<string, RegExp> = {
  listen: /writes the journal now|standing by/,
  work: /"msg":"working"/,
  serve: /"msg":"serving"/,
};

/** Transactions a second, about: enough that something is always under way, little enough for two cores. */
const PAUSE = 15;
const SETTLES_WITHIN = 60_000;
/** How long something that has nothing to do with the promise may take, such as the start of a process on a busy machine (ms). */
export const PATIENCE = 120_000;

/**
 * Everything of one row: a chain, a Postgres and a Redis of its own, real processes that are started again when they end, and
 * traffic. `settle` is the end of a batch of faults: it measures and compares.
 */
export async function openSite({ redis, node, settings = {}, proxies: proxied = [], seed }: SiteOptions) {
  const postgres = await openOwnPostgres();
  const world = await openWorld({ redis, database: async () => postgres, ...(node ? { node } : {}) });
  const random = randomFrom(seed);
  const proxies: TcpProxy[] = [];
  const kept: Kept[] = [];
  let closing = false;
  const sum = { lost: 0, doubled: 0, wrong: 0, settledSeconds: 0 };
  const notes = new Set<string>();
  let traffic = world.traffic(PAUSE);

  async function keep(command: string): Promise<Kept> {
    const urls = { postgres: postgres.url, redis: world.redis?.url };
    const before: { [server in keyof typeof urls]?: TcpProxy } = {};
    for (const server of proxied) {
      const url = urls[server];
      if (url) proxies.push((before[server] = await openTcpProxy(url)));
    }
    const environment = {
      FINALITY: "100",
      LEASE_MS: "1500",
      ...settings,
      ...(before.postgres ? { DATABASE_URL: before.postgres.through(postgres.url) } : {}),
      ...(before.redis ? { REDIS_URL: before.redis.through(urls.redis!) } : {}),
    };
    let expected = false;
    let running = world.start(command, environment);
    let next = Promise.withResolvers<void>();
    const watch = () => {
      void running.exited.then(({ code }) => {
        if (closing) return;
        // A process that gives up by itself is a fault of ours, however well the next one does.
        if (!expected) {
          sum.wrong += 1;
          notes.add(`${command} ended by itself (${code}): ${running.stderr().trim().split("\n").at(-1)?.slice(0, 300)}`);
        }
        expected = false;
        running = world.start(command, environment);
        watch();
        next.resolve();
        next = Promise.withResolvers();
      });
    };
    watch();
    const it: Kept = {
      command,
      ...before,
      running: () => running,
      kill() {
        expected = true;
        running.child.kill("SIGKILL");
      },
      replaced: () => next.promise,
      ready: (timeout = PATIENCE) => {
        const process = running;
        return eventually(
          () => process.child.exitCode !== null || process.child.signalCode !== null || READY[command]!.test(process.stderr()),
          {
            timeout,
            what: () => `${command} works; it said: ${process.stderr().slice(-1_000)}`,
          },
        );
      },
    };
    kept.push(it);
    return it;
  }

  async function compareNow(): Promise<void> {
    const found = await compareWithChain(world);
    sum.lost += found.lost;
    sum.doubled += found.doubled;
    sum.wrong += found.wrong;
    for (const line of found.notes.slice(0, 3)) notes.add(line);
  }

  const site = {
    world,
    postgres,
    random,
    keep,
    /** Where this many transactions more have been sent. */
    more: (count: number) => traffic.more(count),
    /** The listener that writes, once there is one, and its epoch. */
    async leader(): Promise<{ kept: Kept; epoch: number }> {
      return eventually(
        async () => {
          const { rows } = await world.query("select writer, epoch from sluice.checkpoint where lease_until > clock_timestamp()");
          const pid = /-(\d+)-[0-9a-f]{8}$/.exec(rows[0]?.writer ?? "")?.[1];
          const writer = kept.find(({ running }) => String(running().child.pid) === pid);
          return writer && { kept: writer, epoch: Number(rows[0].epoch) };
        },
        { timeout: PATIENCE, what: () => `somebody writes; they said: ${said(kept)}` },
      );
    },
    /** Waits until the journal has moved on from here: somebody leads and commits. */
    async progress(timeout = PATIENCE): Promise<void> {
      // Before the first migration, and while Postgres is away, there is no tip.
      const tip = () =>
        world.query("select tip_number as n from sluice.checkpoint").then(
          ({ rows }) => Number(rows[0]?.n ?? -1),
          () => -1,
        );
      const from = await tip();
      await eventually(async () => (await tip()) > from, { timeout, what: () => `the journal moves on; they said: ${said(kept)}` });
    },
    /** Does something to the chain while nobody else does and the journal is at its head. Then the traffic goes on. */
    async calmly(work: () => Promise<unknown>): Promise<void> {
      await traffic.stop();
      await world.caughtUp();
      await work();
      traffic = world.traffic(PAUSE);
    },
    /**
     * Ends the traffic, measures how long it takes until all is delivered, and lets the traffic go on. Compares with the chain
     * unless told not to.
     */
    async settle({ final = false, compare = true } = {}): Promise<void> {
      const began = performance.now();
      await traffic.stop();
      await world.settled(SETTLES_WITHIN).catch(error => {
        sum.wrong += 1;
        notes.add(`not settled: ${String(error).slice(0, 1_500)}`);
      });
      sum.settledSeconds = Math.max(sum.settledSeconds, (performance.now() - began) / 1_000);
      if (compare) await compareNow();
      if (!final) traffic = world.traffic(PAUSE);
    },
    /** The last words of every process. */
    said: () => said(kept),
    /** What all that came to. */
    row: (fault: string, times: number): FaultRow => ({
      fault,
      times,
      ...sum,
      settledSeconds: Math.round(sum.settledSeconds * 10) / 10,
      ...(notes.size > 0 ? { note: [...notes].join("; ").slice(0, 3_000) } : {}),
    }),
    async close() {
      closing = true;
      await traffic.stop();
      await world.close();
      for (const proxy of proxies) await proxy.close();
    },
  };
  return site;
}

export type Site = Awaited<ReturnType<typeof openSite>>;

const said = (kept: readonly Kept[]) => kept.map(({ running }) => running().stderr().slice(-1_500)).join("\n");

/** One row on Redis and on Postgres as BullMQ's backend, half of the times each. */
export async function onBothBackends(
  fault: string,
  { times, seed, log }: FaultOptions,
  body: (site: Site, times: number) => Promise<void>,
  options: Partial<SiteOptions> = {},
): Promise<FaultRow> {
  const first = await onSite(fault, { times: Math.ceil(times / 2), seed, log }, body, { redis: true, ...options });
  if (times < 2) return first;
  const second = await onSite(fault, { times: Math.floor(times / 2), seed: seed + 1, log }, body, { redis: false, ...options });
  const notes = [first.note, second.note].filter(note => note !== undefined);
  return {
    fault,
    times: first.times + second.times,
    lost: first.lost + second.lost,
    doubled: first.doubled + second.doubled,
    wrong: first.wrong + second.wrong,
    settledSeconds: Math.max(first.settledSeconds, second.settledSeconds),
    ...(notes.length > 0 ? { note: notes.join("; ") } : {}),
  };
}

/** One row on one site, which is closed whatever happens. */
export async function onSite(
  fault: string,
  { times, seed, log }: FaultOptions,
  body: (site: Site, times: number) => Promise<void>,
  options: Partial<SiteOptions> = {},
): Promise<FaultRow> {
  const site = await openSite({ redis: true, ...options, seed });
  open.add(site);
  try {
    log(`${fault}: ${times} on ${site.world.redis ? "Redis" : "Postgres"}`);
    await body(site, times);
    await site.settle({ final: true });
    return site.row(fault, times);
  } finally {
    open.delete(site);
    await site.close();
  }
}

const open = new Set<Site>();

/** Ends everything that rows under way have started. */
export async function closeSites(): Promise<void> {
  await Promise.allSettled([...open].map(site => site.close()));
}

/** A moment from now (ms), by the seed. */
export const moment = (random: Random, within: number): Promise<void> => sleep(random.below(within));
