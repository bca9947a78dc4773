import type { BlockRef } from "../chain/types.ts";
import type { Sql } from "../db.ts";
import { isInFlight } from "./deliveries.ts";
import { type Halted, readHalted } from "./halt.ts";
import { type NodeRow, readNodes } from "./nodes.ts";

/** Deliveries of a queue by state: waiting to be sent, sent to BullMQ, settled, dead letters. */
export type QueueCounts = { pending: number; inFlight: number; done: number; failed: number };

/**
 * Where we stand. Before a listener has entered the chain everything is null, 0 and empty.
 * `lag`: blocks between the head that the writer last saw and our tip. `leader`: the writer whose lease holds now.
 */
export type Status = {
  chainId: number;
  head: number | null;
  /** When the node last gave a head, ISO 8601. */
  headAt: string | null;
  tip: BlockRef | null;
  finalized: BlockRef | null;
  lag: number | null;
  leader: string | null;
  /** Why nobody may write; null where all is well. */
  halted: Halted | null;
  auditedTo: number | null;
  /** The last audit: when it ended, ISO 8601, and how many differences it found. */
  audit: { at: string; failures: number } | null;
  reorgs: number;
  events: number;
  backfill: Backfill | null;
  deadLetters: number;
  queues: Record<string, QueueCounts>;
  nodes: NodeRow[];
};

/** The final blocks from `from` to `to` are being read, and `at` is the last one read. Rates are those since it began. */
export type Backfill = {
  from: number;
  to: number;
  at: number;
  blocksPerSecond: number;
  eventsPerSecond: number;
  secondsLeft: number | null;
};

type Row = {
  head_number: number | null;
  head_at: Date | null;
  tip_number: number | null;
  tip_hash: string;
  finalized_number: number | null;
  finalized_hash: string;
  leader: string | null;
  audited_to: number | null;
  audit_at: Date | null;
  audit_failures: number;
  reorgs: number;
  events: number;
  backfill_from: number | null;
  backfill_to: number;
  backfill_events: number;
  backfill_seconds: number;
};

/** @param queues the application's queues, which are listed even before they had their first delivery */
export async function readStatus(sql: Sql, chainId: number, queues: readonly string[] = []): Promise<Status> {
  const { rows } = await sql.query<Row>(
    `select head_number, head_at, tip_number, tip_hash, finalized_number, finalized_hash, audited_to, audit_at, audit_failures, reorgs, events,
       backfill_from, backfill_to, backfill_events, extract(epoch from updated_at - backfill_began)::float8 as backfill_seconds,
       case when lease_until > clock_timestamp() then writer end as leader
     from checkpoint where chain_id = $1`,
    [chainId],
  );
  const row = rows[0];
  const counts = await countDeliveries(sql, chainId, queues);
  const ref = (number: number | null | undefined, hash: string | undefined) =>
    number === null || number === undefined ? null : { number, hash: hash! };
  return {
    chainId,
    head: row?.head_number ?? null,
    headAt: row?.head_at?.toISOString() ?? null,
    tip: ref(row?.tip_number, row?.tip_hash),
    finalized: ref(row?.finalized_number, row?.finalized_hash),
    lag: row && row.head_number !== null && row.tip_number !== null ? Math.max(0, row.head_number - row.tip_number) : null,
    leader: row?.leader ?? null,
    halted: await readHalted(sql, chainId),
    auditedTo: row?.audited_to ?? null,
    audit: row?.audit_at ? { at: row.audit_at.toISOString(), failures: row.audit_failures } : null,
    reorgs: row?.reorgs ?? 0,
    events: row?.events ?? 0,
    backfill: row ? backfillOf(row) : null,
    deadLetters: Object.values(counts).reduce((total, { failed }) => total + failed, 0),
    queues: counts,
    nodes: await readNodes(sql, chainId),
  };
}

function backfillOf({ backfill_from: from, backfill_to: to, tip_number, events, backfill_events, backfill_seconds }: Row): Backfill | null {
  if (from === null || tip_number === null || tip_number >= to) return null;
  const perSecond = (count: number) => (backfill_seconds > 0 ? Math.round((10 * count) / backfill_seconds) / 10 : 0);
  const blocksPerSecond = perSecond(tip_number - from + 1);
  return {
    from,
    to,
    at: tip_number,
    blocksPerSecond,
    eventsPerSecond: perSecond(events - backfill_events),
    secondsLeft: blocksPerSecond > 0 ? Math.ceil((to - tip_number) / blocksPerSecond) : null,
  };
}

/** Counts what is open and dead, through the partial indexes; what is done, however much it is, follows from the total. */
export async function countDeliveries(sql: Sql, chainId: number, queues: readonly string[] = []): Promise<Record<string, QueueCounts>> {
  const { rows } = await sql.query<QueueCounts & { queue: string }>(
    `select q.queue, coalesce(o.pending, 0) as pending, coalesce(o.in_flight, 0) as "inFlight", coalesce(d.failed, 0) as failed,
       q.created - q.removed - coalesce(o.pending, 0) - coalesce(o.in_flight, 0) - coalesce(d.failed, 0) as done
     from queues q
     left join (
       select d.queue, count(*) filter (where not ${isInFlight()}) as pending, count(*) filter (where ${isInFlight()}) as in_flight
       from deliveries d join queues q using (chain_id, queue) where chain_id = $1 and d.state in ('pending', 'sent') group by d.queue
     ) o using (queue)
     left join (
       select queue, count(*) as failed from deliveries where chain_id = $1 and state = 'dead' group by queue
     ) d using (queue)
     where q.chain_id = $1`,
    [chainId],
  );
  const found = new Map(rows.map(({ queue, pending, inFlight, done, failed }) => [queue, { pending, inFlight, done, failed }]));
  const names = [...new Set([...queues, ...[...found.keys()].sort()])];
  return Object.fromEntries(names.map(name => [name, found.get(name) ?? { pending: 0, inFlight: 0, done: 0, failed: 0 }]));
}

/** The first delivery of a queue that is not settled: since when it waits, and for how many seconds by the database's clock. */
export type Oldest = { since: Date; age: number };

/** By queue; those where nothing waits are left out. */
export async function readOldest(sql: Sql, chainId: number, queues: readonly string[]): Promise<Map<string, Oldest>> {
  const { rows } = await sql.query<Oldest & { queue: string }>(
    `select name as queue, since, extract(epoch from clock_timestamp() - since)::float8 as age
     from unnest($2::text[]) as names (name) cross join lateral (
       select created_at as since from deliveries
       where chain_id = $1 and queue = name and state in ('pending', 'sent') order by position limit 1
     ) first`,
    [chainId, queues],
  );
  return new Map(rows.map(({ queue, ...oldest }) => [queue, oldest]));
}
