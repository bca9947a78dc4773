import type { App, Projection } from "../app.ts";
import { SCHEMA, type Tx } from "../db.ts";
import { type Findings, MAX_FAILURES } from "./audit-findings.ts";
import { EVENT_COLUMNS, type EventRow, toJournalEvent } from "./events.ts";
import { prunedEvents } from "./pruned.ts";

const RECOMPUTE_AT_ONCE = 500;

/**
 * I9, I10: applies all of a projection's events anew, to empty copies of its tables, and compares. A temporary table hides
 * the real one of the same name, so the projection's own statements run unchanged.
 */
export async function checkProjection(tx: Tx, chainId: number, app: App, projection: Projection, findings: Findings): Promise<void> {
  for (const table of projection.tables)
    await tx.query(`create temporary table ${table} (like ${SCHEMA}.${table} including all) on commit drop`);
  const queues = app.routes.filter(route => route.projection === projection).map(route => route.queue);
  const { rows: applied } = await tx.query<{ position: number }>(
    `select e.position from deliveries d cross join unnest(d.events) as e (position)
     where d.chain_id = $1 and d.queue = any($2) and d.state = 'done'
     group by e.position having count(*) filter (where operation = 'apply') > count(*) filter (where operation = 'revert')`,
    [chainId, queues],
  );
  const positions = applied.map(({ position }) => position);
  for (const queue of queues) for (const position of await prunedEvents(tx, chainId, queue)) positions.push(position);
  positions.sort((a, b) => a - b);
  for (let i = 0; i < positions.length; i += RECOMPUTE_AT_ONCE) {
    const { rows } = await tx.query<EventRow>(
      `select ${EVENT_COLUMNS} from events where chain_id = $1 and position = any($2) order by position`,
      [chainId, positions.slice(i, i + RECOMPUTE_AT_ONCE)],
    );
    await projection.apply(
      tx,
      rows.map(row => toJournalEvent(app, row)),
    );
  }
  const invariant = projection.name === "statistics" ? "I9" : "I10";
  for (const table of projection.tables) {
    const stored = `select * from ${SCHEMA}.${table} where chain_id = $1`;
    const again = `select * from pg_temp.${table} where chain_id = $1`;
    const difference = async (left: string, right: string) =>
      (await tx.query<{ row: object }>(`select to_jsonb(d) as row from (${left} except all ${right}) d limit ${MAX_FAILURES}`, [chainId]))
        .rows;
    for (const { row } of await difference(again, stored))
      findings.failed({ invariant, what: `a row of ${table}`, expected: row, found: "nothing" });
    for (const { row } of await difference(stored, again))
      findings.failed({ invariant, what: `a row of ${table}`, expected: "nothing", found: row });
    const { rows } = await tx.query<{ n: number }>(`select count(*) as n from ${SCHEMA}.${table} where chain_id = $1`, [chainId]);
    findings.checked(invariant, rows[0]!.n);
    await tx.query(`drop table pg_temp.${table}`);
  }
}
