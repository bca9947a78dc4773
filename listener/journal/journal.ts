import { setImmediate } from "node:timers/promises";
import type { App, CompiledRoute } from "../app.ts";
import { type ContractAt, createDecoder } from "../chain/events.ts";
import type { BlockRef, ChainUpdate, Checkpoint, Header, Hex, Log } from "../chain/types.ts";
import { type Db, type Tx, transaction } from "../db.ts";
import { LeaseLostError } from "../errors.ts";
import { insertReorg } from "./changes.ts";
import { copyRows, type Rows, startRows } from "./copy-rows.ts";
import { forwardOf, type Handed, insertDeliveries, planDeliveries, type Release, type Routed } from "./deliveries.ts";
import { doubtAudit } from "./doubt.ts";
import { type EventRow, type NewEvent, newJournalEvent, type ReadEvent } from "./events.ts";
import { type Left, recordLive } from "./live.ts";
import { planMissing, READ_AT_ONCE } from "./missing.ts";
import { lockQueue } from "./queue-lock.ts";
import { takeBack } from "./take-back.ts";
import { heldBlock, notePlanned, planWaiting } from "./waiting.ts";
import { NOTIFY } from "./wake.ts";

export type JournalOptions = {
  db: Db;
  chainId: number;
  epoch: number;
  app: App;
  contracts: readonly ContractAt[];
  /** The relay of the same process: see `Release`. Without it all deliveries are claimed. */
  relay?: { released: ReadonlySet<string>; take(queue: string, count: number): boolean };
};

/** What a commit did, for whoever waits for it or shows it. The jobs of what was `handed` over are to be added now. */
export type Recorded = {
  update: ChainUpdate;
  events: NewEvent[];
  orphaned: EventRow[];
  deliveries: Record<string, number>;
  handed: Handed[];
};

/** What a backfill adds is final. */
const FINAL = "finalized_number = $4::bigint, finalized_hash = $5::text";

/**
 * A backfill does not wait for the disk. Should Postgres itself crash, its last commits (under a second) are gone, as a whole
 * and from the end, and the checkpoint with them: the same final blocks are read again and get the same ids and positions.
 * Whatever was made of them in this database was committed later, so it is gone too or has taken them to the disk.
 */
const UNHURRIED = "set local synchronous_commit = off";

/** Logs as they are to be stored. */
type Written = { read: ReadEvent[]; rows: Rows };

/** Logs that are prepared before something else has its turn: a millisecond or two. */
const AHEAD_AT_ONCE = 100;

/** A backfill's first commit notes where it began; all of them have the same `seenAt`, that of the head that it was for. */
const BACKFILL = `backfill_from = $8::bigint, backfill_to = $9::bigint, backfill_began = $10::timestamptz,
  backfill_events = case when backfill_from = $8::bigint and backfill_began = $10::timestamptz then backfill_events else events end`;

/** The one writer of a chain's journal. */
export interface Journal {
  /** What the journal holds, to follow the chain from. Also forgets what this writer believed of the tip. */
  checkpoint(): Promise<Checkpoint>;
  /**
   * Commits an update: blocks, events, checkpoint and deliveries together or not at all.
   *
   * @throws LeaseLostError when the tip is not the one that this writer left, or a newer epoch writes
   */
  record(update: ChainUpdate): Promise<Recorded>;
  /** Begins with what `record` will have to do for this update and needs no database for, beside whatever else goes on. */
  prepare(update: ChainUpdate): void;
  /** Notes the head that the node gave, whether it brought anything or not: the lag of a chain that stands still is known. */
  sawHead(number: number): Promise<void>;
  /**
   * Notes the block that the node calls safe: queues that wait for that get what it brings. A block that the journal does not
   * hold, being on another branch or ahead of the tip, brings nothing.
   *
   * @returns how many deliveries each queue got
   */
  sawSafe(block: BlockRef): Promise<Record<string, number>>;
  /**
   * Commits those logs of a contract's past, at or below the finalized block, that the journal does not hold, and what is
   * known of that contract by then.
   */
  include(contract: Hex, logs: readonly Log[], known: { includedTo: number } | { topics: readonly Hex[] }): Promise<void>;
  /** Makes deliveries for what a queue lacks: all of its events where it is new, or those that its route gained. */
  fillQueues(): Promise<void>;
}

export function openJournal({ db, chainId, epoch, app, contracts, relay }: JournalOptions): Journal {
  const decode = createDecoder(contracts);
  const headRoutes = app.routes.filter(({ finality }) => finality === "latest");
  const waitingRoutes = app.routes.filter(({ finality }) => finality !== "latest");
  const countingRoutes = app.routes.filter(({ finality }) => typeof finality === "number");
  const safeRoutes = app.routes.filter(({ finality }) => finality === "safe");
  // What becomes of a carried job is told by its id: its row must not be gone, and another one in its place.
  const carries = app.routes.some(({ carry }) => carry);
  const prepared = new WeakMap<ChainUpdate, Promise<Written>>();
  let tip: Hex | null = null;
  /** What this writer knows of the journal, once it knows it. */
  let left: Left | undefined;
  /** The tip that a backfill of this writer left, with deliveries for all that was due: of what comes next, all is due and new. */
  let planned: Hex | null = null;

  /** Gives how many events and reorgs there are with this update, and wakes whoever waits for changes once it is committed. */
  async function moveTip(tx: Tx, to: BlockRef | undefined, set: string, values: unknown[]): Promise<{ events: number; reorgs: number }> {
    const { rows } = await tx.query<{ events: number; reorgs: number }>(
      `update checkpoint set tip_number = $4::bigint, tip_hash = $5::text, updated_at = now(), ${set}
       where chain_id = $1 and epoch = $2 and tip_hash is not distinct from $3::text returning events, reorgs, ${NOTIFY}`,
      [chainId, epoch, tip, to?.number ?? null, to?.hash ?? null, ...values],
    );
    if (!rows[0]) throw new LeaseLostError(epoch);
    return rows[0];
  }

  async function deliver(tx: Tx, routes: readonly CompiledRoute[], routed: readonly Routed[], release?: Release) {
    return insertDeliveries(
      tx,
      chainId,
      routes.flatMap(route => planDeliveries([route], routed, forwardOf(route))),
      release,
    );
  }

  const newRelease = (): Release | undefined => relay && { queues: relay.released, take: relay.take, handed: [] };

  async function extend(tx: Tx, update: Extract<ChainUpdate, { type: "extend" }>): Promise<Recorded> {
    const last = update.headers.at(-1)!;
    const { events: total } = await moveTip(
      tx,
      last,
      `head_number = greatest($6::bigint, $4::bigint), head_at = now(), events = events + $7::bigint, ${BACKFILL}
       ${update.backfill ? `, ${FINAL}` : ""}`,
      [update.head, update.logs.length, update.backfill?.from ?? null, update.backfill?.to ?? null, update.seenAt],
    );
    const first = total - update.logs.length + 1;
    const { read, rows } = (await prepared.get(update)) ?? write(update.logs, update.seenAt);
    const events = read.map(({ log, decoded }, i): NewEvent => ({ position: first + i, log, decoded }));
    await (update.backfill ? insertFinalBlock(tx, chainId, last) : insertBlocks(tx, chainId, update.headers));
    await copyRows(tx, rows, first);
    const straight = update.backfill !== undefined && planned !== null && planned === tip;
    const release = newRelease();
    const deliveries = await deliver(tx, straight ? app.routes : headRoutes, toNewRouted(events), release);
    if (straight) await notePlanned(tx, { chainId, routes: waitingRoutes, upTo: last.number });
    else
      Object.assign(deliveries, await planWaiting(tx, { app, chainId, routes: update.backfill ? waitingRoutes : countingRoutes, release }));
    left = { tip: last, events: total };
    return { update, events, orphaned: [], deliveries, handed: release?.handed ?? [] };
  }

  /** The same of blocks that follow the tip, in one turn; undefined where that cannot be done. */
  async function extendLive(update: Extract<ChainUpdate, { type: "extend" }>): Promise<Recorded | undefined> {
    const release = newRelease();
    const follows = update.headers.every(({ number }, i) => left && number === left.tip.number + 1 + i);
    if (!release || !left || !follows || left.tip.hash !== tip || countingRoutes.length > 0) return undefined;
    const events = update.logs.map((log, i): NewEvent => ({ position: left!.events + 1 + i, log, decoded: decode(log) }));
    const routed = toNewRouted(events);
    const drafts = headRoutes.flatMap(route => planDeliveries([route], routed, forwardOf(route)));
    const deliveries = await recordLive(db, { chainId, epoch, left, release }, { ...update, events, drafts });
    if (!deliveries) return undefined;
    left = { tip: update.headers.at(-1)!, events: left.events + events.length };
    return { update, events, orphaned: [], deliveries, handed: release.handed };
  }

  /** Logs decoded and written as rows. */
  function write(logs: readonly Log[], seenAt: Date): Written {
    const rows = startRows(logs, { chainId, epoch, seenAt });
    const read = logs.map((log): ReadEvent => ({ log, decoded: decode(log) }));
    for (const event of read) rows.add(event);
    return { read, rows: rows.end() };
  }

  /** The same, some at a time: what Postgres answers meanwhile is not kept waiting. */
  async function writeAhead(logs: readonly Log[], seenAt: Date): Promise<Written> {
    const rows = startRows(logs, { chainId, epoch, seenAt });
    const read: ReadEvent[] = [];
    for (const [i, log] of logs.entries()) {
      if (i % AHEAD_AT_ONCE === 0) await setImmediate();
      const event = { log, decoded: decode(log) };
      read.push(event);
      rows.add(event);
    }
    return { read, rows: rows.end() };
  }

  /** New events on their way to the routes; none where nobody waits for any. */
  function toNewRouted(events: readonly NewEvent[]): Routed[] {
    return app.routes.length === 0 ? [] : events.map(event => ({ event: newJournalEvent(chainId, event), error: event.decoded.error }));
  }

  async function reorg(tx: Tx, update: Extract<ChainUpdate, { type: "reorg" }>): Promise<Recorded> {
    const above = update.ancestor?.number ?? -1;
    const counts = await moveTip(tx, update.ancestor, "reorgs = reorgs + 1", []);
    await doubtAudit(tx, chainId, above);
    await tx.query("delete from blocks where chain_id = $1 and number > $2", [chainId, above]);
    const taken = await takeBack(tx, { app, chainId, above });
    await insertReorg(tx, chainId, { ...counts, ancestor: update.ancestor, removed: taken.orphaned.map(({ position }) => position) });
    return { update, events: [], ...taken, handed: [] };
  }

  async function finalize(tx: Tx, update: Extract<ChainUpdate, { type: "finalize" }>): Promise<Recorded> {
    const { rowCount } = await tx.query(
      `update checkpoint set ${FINAL}, updated_at = now()
       where chain_id = $1 and epoch = $2 and tip_hash is not distinct from $3::text returning ${NOTIFY}`,
      [chainId, epoch, tip, update.block.number, update.block.hash],
    );
    if (rowCount === 0) throw new LeaseLostError(epoch);
    await tx.query("delete from blocks where chain_id = $1 and number < $2", [chainId, update.block.number]);
    const release = newRelease();
    const deliveries = await planWaiting(tx, { app, chainId, routes: waitingRoutes, release });
    return { update, events: [], orphaned: [], deliveries, handed: release?.handed ?? [] };
  }

  /**
   * Delivers to a queue what its route gained and no delivery of it covers, some at a time: events that left the route and
   * came back, or that were included a moment ago, have some of theirs already. A start that was cut short goes on from there.
   * A queue that waits is filled up to where it stands; one that waits no more, from there on.
   */
  async function fill(route: CompiledRoute): Promise<void> {
    const waits = route.finality !== "latest";
    const { rows: queues } = await db.query<{ events: string[] | null; planned: number | null; finalized: number | null }>(
      `select q.events, q.planned_to as planned, c.finalized_number as finalized
       from checkpoint c left join queues q on q.chain_id = c.chain_id and q.queue = $2 where c.chain_id = $1`,
      [chainId, route.queue],
    );
    const { events, planned, finalized } = queues[0]!;
    const had = new Set(events);
    // Where its finality was changed between two starts, all of its events are looked through.
    const changed = waits === (planned === null);
    const gained = [...route.events].filter(name => changed || !had.has(name));
    if (gained.length === 0 && had.size === route.events.size) return;
    const upTo = waits ? (planned ?? finalized ?? -1) : undefined;
    for (let after: number | undefined = 0; after !== undefined && gained.length > 0; ) {
      after = await transaction(db, async tx => {
        await lockQueue(tx, chainId, route.queue);
        await holdTip(tx);
        const { drafts, last } = await planMissing(tx, { app, chainId, route, names: gained, after: after!, limit: READ_AT_ONCE, upTo });
        if (drafts.length > 0) await doubtAudit(tx, chainId, -1);
        await insertDeliveries(tx, chainId, drafts);
        return last;
      });
    }
    await transaction(db, async tx => {
      await holdTip(tx);
      await tx.query(
        `insert into queues (chain_id, queue, events, planned_to) values ($1, $2, $3, $4)
         on conflict (chain_id, queue) do update set events = excluded.events, planned_to = excluded.planned_to`,
        [chainId, route.queue, [...route.events], upTo ?? null],
      );
    });
  }

  /** Leaves the tip as it is, keeps others from moving it, and still refuses a writer that is no longer the one. */
  async function holdTip(tx: Tx, newEvents = 0): Promise<number> {
    const { rows } = await tx.query<{ number: number | null; hash: Hex }>(
      "select tip_number as number, tip_hash as hash from checkpoint where chain_id = $1 for update",
      [chainId],
    );
    const held = rows[0]?.number == null ? undefined : { number: rows[0].number, hash: rows[0].hash };
    return (await moveTip(tx, held, "events = events + $6::bigint", [newEvents])).events;
  }

  /** The logs that the journal does not hold yet. What a contract or event had when it left and came back is there already. */
  async function unknownAmong(tx: Tx, contract: Hex, logs: readonly Log[]): Promise<Log[]> {
    if (logs.length === 0) return [];
    const { rows } = await tx.query<{ block_number: number; log_index: number }>(
      `select block_number, log_index from events
       where chain_id = $1 and block_number between $2 and $3 and address = $4 and live`,
      [chainId, logs[0]!.blockNumber, logs.at(-1)!.blockNumber, contract],
    );
    const known = new Set(rows.map(row => `${row.block_number} ${row.log_index}`));
    return logs.filter(log => !known.has(`${log.blockNumber} ${log.logIndex}`));
  }

  return {
    async checkpoint() {
      planned = null;
      left = undefined;
      const checkpoint = await readCheckpoint(db, chainId);
      tip = checkpoint.blocks.at(-1)?.hash ?? null;
      return checkpoint;
    },
    async record(update) {
      const live = update.type === "extend" && !update.backfill ? await extendLive(update) : undefined;
      if (live) {
        tip = left!.tip.hash;
        planned = null;
        return live;
      }
      const recorded = await transaction(
        db,
        tx => (update.type === "extend" ? extend(tx, update) : update.type === "reorg" ? reorg(tx, update) : finalize(tx, update)),
        undefined,
        update.type === "extend" && update.backfill && !carries ? [UNHURRIED] : [],
      );
      if (update.type === "extend") tip = update.headers.at(-1)!.hash;
      planned = update.type === "extend" && update.backfill ? tip : null;
      if (update.type === "reorg") tip = update.ancestor?.hash ?? null;
      return recorded;
    },
    prepare(update) {
      if (update.type !== "extend") return;
      const written = writeAhead(update.logs, update.seenAt);
      // Awaited by `record`, if that comes at all.
      written.catch(() => {});
      prepared.set(update, written);
    },
    async sawHead(number) {
      await db.query("update checkpoint set head_number = $3, head_at = now() where chain_id = $1 and epoch = $2", [
        chainId,
        epoch,
        number,
      ]);
    },
    async sawSafe({ number, hash }) {
      if (safeRoutes.length === 0) return {};
      return transaction(db, async tx => {
        const { rowCount } = await tx.query(
          `select from checkpoint where chain_id = $1 and epoch = $2 and tip_hash is not distinct from $3
             and ${heldBlock("$4", "$5")} is not null for update`,
          [chainId, epoch, tip, number, hash],
        );
        return rowCount === 0 ? {} : planWaiting(tx, { app, chainId, routes: safeRoutes, safe: number });
      });
    },
    async include(contract, logs, known) {
      await transaction(db, async tx => {
        await holdTip(tx);
        const fresh = await unknownAmong(tx, contract, logs);
        const total = await holdTip(tx, fresh.length);
        const first = total - fresh.length + 1;
        const { read, rows } = write(fresh, new Date());
        const events = read.map((event, i): NewEvent => ({ position: first + i, ...event }));
        await copyRows(tx, rows, first);
        if (fresh[0]) {
          await doubtAudit(tx, chainId, fresh[0].blockNumber - 1);
          await tx.query("update checkpoint set late_to = $2 where chain_id = $1", [chainId, total]);
        }
        await deliver(tx, app.routes, toNewRouted(events));
        const [column, value] = "topics" in known ? ["included_to = null, topics", known.topics] : ["included_to", known.includedTo];
        await tx.query(`update contracts set ${column} = $3 where chain_id = $1 and address = $2`, [chainId, contract, value]);
      });
    },
    async fillQueues() {
      for (const route of app.routes) await fill(route);
    },
  };
}

/**
 * Keeps the headers that are linked to the new tip. Below a backfilled range there is a gap, and what lies below a gap is
 * final: it is dropped, so that the blocks held are contiguous at every commit.
 */
async function insertBlocks(tx: Tx, chainId: number, headers: readonly Header[]): Promise<void> {
  let first = headers.length - 1;
  while (first > 0 && headers[first - 1]!.number === headers[first]!.number - 1) first -= 1;
  const linked = headers.slice(first);
  await tx.query(
    `delete from blocks b where chain_id = $1
       and not exists (select from blocks p where p.chain_id = $1 and p.number = $2::bigint - 1)`,
    [chainId, linked[0]!.number],
  );
  await tx.query(
    `insert into blocks (chain_id, number, hash, parent_hash, timestamp)
     select $1, * from unnest($2::bigint[], $3::text[], $4::text[], $5::bigint[])`,
    [chainId, linked.map(h => h.number), linked.map(h => h.hash), linked.map(h => h.parentHash), linked.map(h => h.timestamp)],
  );
}

/** Of final blocks the last is all that is needed, to link to. */
async function insertFinalBlock(tx: Tx, chainId: number, { number, hash, parentHash, timestamp }: Header): Promise<void> {
  await tx.query(
    `with dropped as (delete from blocks where chain_id = $1 and number < $2)
     insert into blocks (chain_id, number, hash, parent_hash, timestamp) values ($1, $2, $3, $4, $5)`,
    [chainId, number, hash, parentHash, timestamp],
  );
}

async function readCheckpoint(db: Db, chainId: number): Promise<Checkpoint> {
  return transaction(
    db,
    async tx => {
      const { rows } = await tx.query<{ start_block: number; finalized_number: number | null; finalized_hash: Hex }>(
        "select start_block, finalized_number, finalized_hash from checkpoint where chain_id = $1",
        [chainId],
      );
      const { rows: blocks } = await tx.query<BlockRef>("select number, hash from blocks where chain_id = $1 order by number", [chainId]);
      const { start_block: start, finalized_number, finalized_hash } = rows[0]!;
      const finalized = finalized_number === null ? undefined : { number: finalized_number, hash: finalized_hash };
      return { start, finalized, blocks };
    },
    "repeatable read",
  );
}
