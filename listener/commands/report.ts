import type { Db } from "../db.ts";
import type { AuditReport } from "../journal/audit.ts";
import { countDeliveries, type QueueCounts } from "../journal/status.ts";

/** What a run of `start --for` did. Latencies are in milliseconds, from when the node announced a block to its applied effect. */
export type RunReport = {
  chainId: number;
  events: Record<string, number>;
  queues: Record<string, QueueCounts>;
  reorgs: number;
  latency: { p50: number | null; p95: number | null };
  audit: AuditReport;
};

/** Counts what the journal holds. The latencies are those of deliveries made since `since`. */
export async function reportRun(db: Db, chainId: number, since: Date, audit: AuditReport): Promise<RunReport> {
  const events = await db.query<{ name: string; n: number }>(
    "select name, count(*) as n from events where chain_id = $1 and live group by name order by name",
    [chainId],
  );
  const latency = await db.query<{ p50: number | null; p95: number | null }>(
    `select percentile_cont(0.5) within group (order by ms) as p50, percentile_cont(0.95) within group (order by ms) as p95
     from (
       select extract(epoch from d.done_at - e.seen_at)::float8 * 1000 as ms
       from deliveries d join events e on e.chain_id = d.chain_id and e.position = d.last_event
       where d.chain_id = $1 and d.state = 'done' and d.operation = 'apply' and d.created_at >= $2
     ) latencies`,
    [chainId, since],
  );
  const checkpoint = await db.query<{ reorgs: number }>("select reorgs from checkpoint where chain_id = $1", [chainId]);
  const round = (ms: number | null) => (ms === null ? null : Math.round(ms * 10) / 10);
  return {
    chainId,
    events: Object.fromEntries(events.rows.map(({ name, n }) => [name, n])),
    queues: await countDeliveries(db, chainId),
    reorgs: checkpoint.rows[0]?.reorgs ?? 0,
    latency: { p50: round(latency.rows[0]!.p50), p95: round(latency.rows[0]!.p95) },
    audit,
  };
}
