import { follow } from "../../listener/chain/follow.ts";
import { nodeSource } from "../../listener/chain/source.ts";
import type { ChainSource, ChainUpdate, LogFilter } from "../../listener/chain/types.ts";
import { followed } from "../../listener/commands/listener.ts";
import { type Db, isDbOutage } from "../../listener/db.ts";
import { LeaseLostError } from "../../listener/errors.ts";
import { catchUp } from "../../listener/journal/catch-up.ts";
import { enterChain } from "../../listener/journal/chains.ts";
import type { Handed } from "../../listener/journal/deliveries.ts";
import { type Journal, openJournal } from "../../listener/journal/journal.ts";
import { acquireLease, type Lease } from "../../listener/journal/lease.ts";
import { addJobs, isReleased, relayNext, resendLost } from "../../listener/queues/relay.ts";
import { createDelivery } from "../../listener/worker/worker.ts";
import { type Random, randomFrom } from "../../scripts/support/random.ts";
import { simChain, TOKEN_ADDRESS, TOKEN_BLOCK } from "../support/chain-sim/chain.ts";
import { simNode } from "../support/chain-sim/node.ts";
import { silent } from "../support/silent.ts";
import { type DbFault, faultyDb } from "./faulty-db.ts";
import { jobStore } from "./job-store.ts";
import { app } from "./sim-app.ts";
import { type Endpoint, simRpc } from "./sim-rpc.ts";

/** A listener at some moment of its life: between two updates, or with one in its hand that is not committed yet. */
type Writer = {
  epoch: number;
  lease: Lease;
  journal: Journal;
  process: ReturnType<typeof faultyDb>;
  updates: AsyncGenerator<ChainUpdate, never>;
  pending: Promise<IteratorResult<ChainUpdate, never>> | undefined;
  inHand: ChainUpdate | undefined;
  /** Lets the follower look again; set while it waits for news. */
  look: (() => void) | undefined;
};

/** The lease's own renewal is of no use where time stands still between steps. */
const LEASE = 3_600_000;
const { signal: never } = new AbortController();

/**
 * One chain, its listeners, relay and workers, in one process, and step by step: nothing happens by itself, so a seed
 * decides everything. Follower, verification, journal, lease, relay and workers are the real ones on a real Postgres;
 * chain, network, jobs and time are simulated.
 */
export async function openSimulation({ db, chainId, seed }: { db: Db; chainId: number; seed: number }) {
  const random = randomFrom(seed);
  const finality = random.below(2) === 0 ? ("finalized" as const) : 4 + random.below(24);
  const chain = simChain(randomFrom(seed ^ 0x5eed), typeof finality === "number" ? finality : undefined);
  const verify = random.below(4) === 0 ? ("receipts" as const) : ("bloom" as const);
  const window = 1 + random.below(40);
  const endpoints: Endpoint[] = Array.from({ length: 1 + random.below(3) }, () => ({
    node: simNode(chain, { chainId, random }),
    way: "open",
  }));
  const { rpc, onBlocked, resume } = simRpc(endpoints, random);
  let now = 0;
  const store = jobStore(random, () => now);
  const writers: Writer[] = [];
  const found = { wrong: [] as string[], epoch: 0, commits: 0, reorgs: 0, stale: 0, deaths: 0 };
  let resentAt = 0;
  const released = new Set(app.routes.filter(isReleased).map(({ queue }) => queue));
  /** Where the next look at a queue may begin, as far as its relay remembers. */
  const begins = new Map<string, number>();

  const deployment = { chainId, contracts: { SluiceToken: { address: TOKEN_ADDRESS, block: TOKEN_BLOCK } } };
  const { contracts, filter } = followed(app, deployment);
  const sourceFor = (filter: LogFilter): ChainSource =>
    nodeSource({ rpc, filter, finality, verify, pollInterval: 1, signal: never, log: silent });
  chain.mine(1 + random.below(20));
  await enterChain(db, rpc, { chainId, genesis: chain.genesis.hash, instance: undefined, development: false }, deployment);

  let idle = () => {};
  const resting = () =>
    new Promise<"rest">(resolve => {
      idle = () => resolve("rest");
    });
  onBlocked(() => idle());

  /** Runs `work` as a process that may break at any statement. Whether it was killed by that. */
  async function within(process: ReturnType<typeof faultyDb>, fault: DbFault | undefined, work: () => Promise<unknown>): Promise<boolean> {
    if (fault) process.arm(fault);
    try {
      await work();
    } catch (error) {
      if (!isDbOutage(error)) throw error;
    }
    return process.disarm();
  }

  async function discard(writer: Writer): Promise<void> {
    writers.splice(writers.indexOf(writer), 1);
    await writer.lease.release();
  }

  /** A listener takes the lease, as after the one before had not renewed it in time; that one does not know yet. */
  async function takeOver(fault?: DbFault): Promise<void> {
    await db.query("update checkpoint set lease_until = '-infinity' where chain_id = $1", [chainId]);
    const process = faultyDb(db);
    const lease = await acquireLease({ db, chainId, writer: `writer ${++now}`, duration: LEASE, log: silent, signal: never });
    // Beside a relay that mostly has room. One of a writer that was replaced does not know how much there is.
    const relay = { released, take: () => random.below(4) > 0 };
    const journal = openJournal({ db: process.db, chainId, epoch: lease.epoch, app, contracts, relay });
    let writer: Writer | undefined;
    const rest = resting();
    const start = async () => {
      await catchUp({ db: process.db, chainId, journal, contracts, sourceFor, log: silent });
      const source: ChainSource = {
        ...sourceFor(filter),
        changed: () =>
          new Promise(resolve => {
            writer!.look = resolve;
            idle();
          }),
      };
      const updates = follow(source, await journal.checkpoint(), silent);
      writer = { epoch: lease.epoch, lease, journal, process, updates, pending: undefined, inHand: undefined, look: undefined };
      writers.push(writer);
    };
    if (fault) process.arm(fault);
    const started = start().catch(error => {
      if (!isDbOutage(error) && !(error instanceof LeaseLostError)) throw error;
    });
    // Its first calls may find no node: then it never gets so far.
    await Promise.race([started, rest]);
    process.disarm();
    if (!writer) await lease.release();
  }

  /** The follower looks until it has an update, or has seen everything; what it had in its hand is committed. */
  async function advance(writer: Writer, fault?: DbFault): Promise<boolean> {
    if (!writer.inHand) {
      const rest = resting();
      resume();
      writer.look?.();
      writer.look = undefined;
      writer.pending ??= writer.updates.next();
      const next = await Promise.race([writer.pending, rest]);
      if (next === "rest") return false;
      writer.pending = undefined;
      writer.inHand = next.value;
      if (random.below(4) === 0) return true;
    }
    const update = writer.inHand;
    let lost = true;
    const killed = await within(writer.process, fault, async () => {
      try {
        const { handed } = await writer.journal.record(update);
        lost = false;
        // A process may end before it adds the jobs of what it committed.
        if (random.below(6) > 0) await addHanded(handed);
      } catch (error) {
        if (!(error instanceof LeaseLostError)) throw error;
        found.stale += 1;
      }
    });
    writer.inHand = undefined;
    if (!lost) {
      found.commits += 1;
      if (update.type === "reorg") found.reorgs += 1;
      if (writer.epoch < found.epoch) found.wrong.push(`a commit of epoch ${writer.epoch} after one of ${found.epoch}`);
      found.epoch = Math.max(found.epoch, writer.epoch);
    }
    if (killed) found.deaths += 1;
    // A real one ends, or starts again from the checkpoint.
    if (lost) await discard(writer);
    return true;
  }

  async function addHanded(handed: readonly Handed[]): Promise<void> {
    for (const [queue, own] of Map.groupBy(handed, ({ queue }) => queue)) {
      const sent = own.map(delivery => ({ ...delivery, sends: 1 }));
      await addJobs(store.jobs(queue), chainId, queue, sent).catch(error => {
        if (!/OOM/.test(String(error))) throw error;
      });
    }
  }

  async function relay(queue: string, fault?: DbFault): Promise<number> {
    const route = app.routes.find(route => route.queue === queue)!;
    const process = faultyDb(db);
    let moved = 0;
    await within(process, fault, async () => {
      try {
        const from = random.below(10) > 0 ? begins.get(queue) : undefined;
        const next = await relayNext(process.db, store.jobs(queue), { chainId, route, window, from });
        moved = next.moved;
        begins.set(queue, next.from);
      } catch (error) {
        if (!/OOM/.test(String(error))) throw error;
      }
    });
    return moved;
  }

  async function resend(): Promise<void> {
    resentAt = now;
    for (const { queue } of app.routes) {
      await resendLost(db, store.jobs(queue), { chainId, queue, resendAfter: 0, log: silent }).catch(error => {
        if (!/OOM/.test(String(error))) throw error;
      });
    }
  }

  async function work(queue: string, fault?: DbFault): Promise<boolean> {
    const job = store.take(queue);
    if (!job) return false;
    const process = faultyDb(db);
    const route = app.routes.find(route => route.queue === queue)!;
    let failed = false;
    const killed = await within(process, fault, async () => {
      try {
        await createDelivery(route, { app, db: process.db, chainId, log: silent })(job.position, never);
      } catch {
        failed = true;
      }
    });
    if (killed) {
      found.deaths += 1;
      store.stall(job);
    } else if (failed) store.retry(job);
    else store.done(queue, job);
    return true;
  }

  return {
    db,
    chainId,
    seed,
    random,
    chain,
    finality,
    verify,
    endpoints,
    rpc,
    store,
    writers,
    found,
    contracts,
    source: () => sourceFor(filter),
    takeOver,
    advance,
    discard,
    relay,
    work,
    resend,
    /** Time passes; after three seconds the relay looks for lost jobs. */
    async pass(ms: number): Promise<void> {
      now += ms;
      if (now - resentAt >= 3_000) await resend();
    },
    now: () => now,
    async close(): Promise<void> {
      for (const writer of [...writers]) await discard(writer);
    },
  };
}

export type Simulation = Awaited<ReturnType<typeof openSimulation>>;
/** For steps that need a choice. */
export type { Random };
