import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { App } from "../app.ts";
import type { Deployment } from "../chain/deployment.ts";
import type { ContractAt } from "../chain/events.ts";
import { follow } from "../chain/follow.ts";
import { type ChainIdentity, checkDeployment, checkSameChain, readIdentity } from "../chain/identity.ts";
import { openRpc, type Rpc, RpcError } from "../chain/rpc.ts";
import { nodeSource } from "../chain/source.ts";
import type { BlockRef, ChainSource, Header, Hex, Log, LogFilter } from "../chain/types.ts";
import type { Config, Finality } from "../config.ts";
import { type Db, isDbOutage, outlast, sleep, waitForDb } from "../db.ts";
import { ChainReplacedError, describe, LeaseLostError, ReorgPastFinalityError, WrongChainError } from "../errors.ts";
import { openActivity } from "../journal/activity.ts";
import { catchUp } from "../journal/catch-up.ts";
import { enterChain, readOrigin } from "../journal/chains.ts";
import { type Halted, HaltedError, halt, RESYNC, readHalted } from "../journal/halt.ts";
import { openJournal, type Recorded } from "../journal/journal.ts";
import { acquireLease } from "../journal/lease.ts";
import { toNodeRow, writeNodes } from "../journal/nodes.ts";
import { recordAll } from "../journal/record-all.ts";
import { keepPruning } from "../journal/retention.ts";
import type { Log as Logger } from "../log.ts";
import type { QueueBackend } from "../queues/backend.ts";
import { startRelay } from "../queues/start-relay.ts";
import { startDispatcher } from "../webhooks/dispatch.ts";

export type ListenerOptions = {
  app: App;
  config: Pick<Config, "rpcUrls" | "finality" | "verify" | "pollInterval" | "lease" | "window"> & Partial<Pick<Config, "retention">>;
  db: Db;
  backend: QueueBackend;
  deployment: Deployment;
  log: Logger;
  signal: AbortSignal;
  /** Begins when this listener begins to lead, beside its work; the signal aborts when it leads no more. */
  whileLeading?: ((signal: AbortSignal) => unknown) | undefined;
  onRecorded?: (recorded: Recorded) => void;
  /** Called when this listener finds the journal halted, and waits. */
  onHalted?: (halted: Halted) => void;
};

/** Confirmations after which a block of a development chain counts as final: its own tags call every block final at once. */
export const DEVELOPMENT_FINALITY = 16;

/** How often a change in the state of a node is written down at most (ms). */
const NODES_NOTED = 1_000;
/** In how many of these rounds all of it is written. */
const LATENCY_NOTED = 10;

/** How often the node is asked whether it still stands for the same chain (ms). */
const IDENTITY_CHECK = 5_000;

/** The contracts of a deployment that the application knows, and the filter for their events. */
export function followed(app: App, deployment: Deployment): { contracts: ContractAt[]; filter: LogFilter } {
  const contracts = Object.entries(deployment.contracts).flatMap(([name, { address }]) => {
    const decoders = app.contracts.get(name);
    return decoders ? [{ name, decoders, address: address.toLowerCase() }] : [];
  });
  const events = new Map(contracts.map(({ address, decoders }) => [address, new Set(decoders.map(({ topic }) => topic))]));
  const topics = new Set([...events.values()].flatMap(own => [...own]));
  // One contract may emit what only another one's ABI knows.
  const wants = (log: Log) => events.get(log.address)?.has(log.topics[0] ?? "") ?? false;
  return { contracts, filter: { addresses: [...events.keys()], topics: [...topics], wants } };
}

export const finalityOf = (configured: Finality | undefined, identity: ChainIdentity): Finality =>
  configured ?? (identity.development ? DEVELOPMENT_FINALITY : "finalized");

/**
 * Follows the chain into the journal and relays, until the signal aborts: as the leader, or standing by for one.
 * Outages of node, database and Redis are waited for, and so is a resync where the journal is halted; what waiting cannot
 * mend is thrown.
 */
export async function runListener(options: ListenerOptions): Promise<void> {
  const { db, deployment, log, signal, config } = options;
  const writer = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
  const rpc = openRpc(config.rpcUrls, { log, signal });
  let identity: ChainIdentity | undefined;
  try {
    while (!signal.aborted) {
      try {
        await waitForDb(db, log, signal);
        if (await waitForResync(options)) identity = undefined;
        identity ??= await enter(options, rpc);
        await lead(options, identity, writer, rpc);
      } catch (error) {
        if (signal.aborted) break;
        if (isReplaced(error)) {
          // Where another listener writes and sees nothing wrong, it is this one's node that is.
          await outlast(() => halt(db, deployment.chainId, { error }), { log, signal });
          if (await readHalted(db, deployment.chainId)) continue;
          throw error;
        }
        if (!(error instanceof LeaseLostError || error instanceof HaltedError) && !isDbOutage(error)) throw error;
        if (!(error instanceof HaltedError)) log.warn({ reason: describe(error) }, "stopped writing; starting again from the checkpoint");
        await sleep(200, signal);
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    rpc.close();
  }
}

/** The chain took back what the journal holds as final. */
const isReplaced = (error: unknown): error is ChainReplacedError | ReorgPastFinalityError =>
  error instanceof ChainReplacedError || error instanceof ReorgPastFinalityError;

/** Reads which chain the node stands for, and enters it into the journal or holds it against the one there. */
async function enter({ db, deployment, log, signal }: ListenerOptions, rpc: Rpc): Promise<ChainIdentity> {
  const identity = await readIdentity(rpc);
  // A chain that was reset has lost the contracts too, and that is what a person needs to read then.
  if (identity.chainId === deployment.chainId) await outlast(() => checkChain(db, rpc, identity), { log, signal });
  await checkDeployment(rpc, identity, deployment);
  await outlast(() => enterChain(db, rpc, identity, deployment), { log, signal });
  return identity;
}

/** How often a halted listener looks whether it may go on (ms). */
const HALT_POLL = 1_000;

/**
 * Waits for as long as the journal is halted; true where it was. The process stays, so that no supervisor starts it over
 * and over, and goes on by itself after a `resync`.
 */
async function waitForResync({ db, deployment: { chainId }, log, signal, onHalted }: ListenerOptions): Promise<boolean> {
  for (let waited = false; ; waited = true) {
    const halted = await outlast(() => readHalted(db, chainId), { log, signal });
    if (!halted || signal.aborted) {
      if (waited) log.info({ chainId }, "resynced: this listener goes on");
      return waited;
    }
    if (!waited) {
      log.error(
        { chainId, block: halted.block, since: halted.at },
        `halted: ${halted.reason}; nothing is written or delivered. To repair it, ${RESYNC}`,
      );
      onHalted?.(halted);
    }
    await sleep(HALT_POLL, signal);
  }
}

/** The chain that the node stands for now is the one of the journal, where that knows it. */
async function checkChain(db: Db, rpc: Rpc, now: ChainIdentity): Promise<void> {
  const origin = await readOrigin(db, now.chainId);
  if (origin) await checkSameChain(rpc, now, origin);
}

/** Why a URL was found to stand for another chain: the chain was replaced, or it is one wrong URL among several (the error itself). */
async function whyWrong(db: Db, plain: Rpc, error: WrongChainError): Promise<unknown> {
  try {
    await checkChain(db, plain, await readIdentity(plain));
    return error;
  } catch (replaced) {
    return replaced;
  }
}

/** @param plain calls any of the URLs, whichever chain it stands for */
async function lead(options: ListenerOptions, identity: ChainIdentity, writer: string, plain: Rpc): Promise<void> {
  const { app, config, db, backend, deployment, log, signal, onRecorded } = options;
  const { chainId } = identity;
  const lease = await acquireLease({ db, chainId, writer, duration: config.lease, log, signal });
  const term = new AbortController();
  const over = AbortSignal.any([lease.lost, term.signal]);
  const rpc = openRpc(config.rpcUrls, { log, signal: over, chain: identity });
  const activity = openActivity({ db, chainId, log, lag: true });
  const relay = startRelay({ db, backend, chainId, app, window: config.window, log, signal: over, onSettled: activity.settled });
  const safe = async (): Promise<BlockRef | undefined> => {
    // A development chain calls every block safe at once.
    if (identity.development) return undefined;
    const block = await rpc.call<{ number: string; hash: Hex } | null>("eth_getBlockByNumber", ["safe", false]);
    return block ? { number: Number(block.number), hash: block.hash } : undefined;
  };
  const waitsForSafe = app.routes.some(({ finality }) => finality === "safe");
  const { retention } = config;
  const pruning = retention === undefined ? undefined : keepPruning({ db, app, chainId, retention, log, signal: over });
  const webhooks = startDispatcher({ db, backend, app, chainId, safe, log, signal: over });
  const { contracts, filter } = followed(app, deployment);
  const sourceFor = (filter: LogFilter) =>
    nodeSource({
      rpc,
      filter,
      finality: finalityOf(config.finality, identity),
      verify: config.verify,
      pollInterval: config.pollInterval,
      signal: over,
      log,
    });
  const journal = openJournal({ db, chainId, epoch: lease.epoch, app, contracts, relay });

  const record = async () => {
    await catchUp({ db, chainId, journal, contracts, sourceFor, log });
    const onHead = async (head: Header) => {
      await journal.sawHead(head.number);
      const block = waitsForSafe ? await safe() : undefined;
      if (block) relay.wake(Object.keys(await journal.sawSafe(block)));
    };
    const updates = follow(noteHeads(sourceFor(filter), onHead), await journal.checkpoint(), log);
    for await (const recorded of recordAll(journal, updates)) {
      // What was handed over gets its jobs at once: a look for it would only take time from those who work on them.
      const handed = new Set(recorded.handed.map(({ queue }) => queue));
      relay.add(recorded.handed);
      relay.wake(Object.keys(recorded.deliveries).filter(queue => !handed.has(queue)));
      webhooks.wake();
      activity.recorded(recorded);
      onRecorded?.(recorded);
    }
  };
  const watch = async () => {
    for (;;) {
      await sleep(IDENTITY_CHECK, over);
      over.throwIfAborted();
      const now = await readIdentity(rpc).catch(error => {
        if (error instanceof RpcError) return identity;
        throw error;
      });
      if (now.genesis === identity.genesis && now.instance === identity.instance) continue;
      await checkChain(db, rpc, now);
    }
  };
  options.whileLeading?.(over);
  const noteNodes = async () => {
    let noted = "";
    for (let rounds = 0; ; rounds++, await sleep(NODES_NOTED, over)) {
      over.throwIfAborted();
      const nodes = rpc.nodes().map(toNodeRow);
      // A change of state at once; what moves all the time, the latency, now and then.
      const states = JSON.stringify(nodes.map(({ url, state, reason }) => [url, state, reason]));
      if (states !== noted || rounds % LATENCY_NOTED === 0) await writeNodes(db, { chainId, epoch: lease.epoch }, nodes);
      noted = states;
    }
  };
  try {
    await Promise.race([record(), watch(), noteNodes()]);
  } catch (error) {
    // The lease ended under the work: whatever it stumbled over then is not the reason.
    if (lease.lost.aborted && !signal.aborted) throw new LeaseLostError(lease.epoch);
    // A URL turned out to stand for another chain: the node was reset, or one of several URLs is wrong.
    const reason = error instanceof WrongChainError ? await whyWrong(db, plain, error) : error;
    if (isReplaced(reason)) await outlast(() => halt(db, chainId, { error: reason, epoch: lease.epoch }), { log, signal });
    throw reason;
  } finally {
    term.abort();
    await Promise.all([relay.stopped, webhooks.stopped, pruning]);
    await activity.close();
    rpc.close();
    await lease.release();
  }
}

/** How often the head is written down where nothing else is (ms). */
const HEAD_NOTED = 1_000;

/** The source, with each head that it gives noted, at most once a second. */
function noteHeads(source: ChainSource, note: (head: Header) => Promise<void>): ChainSource {
  let notedAt = 0;
  return {
    ...source,
    async head() {
      const head = await source.head();
      if (Date.now() - notedAt >= HEAD_NOTED) {
        notedAt = Date.now();
        await note(head);
      }
      return head;
    },
  };
}
