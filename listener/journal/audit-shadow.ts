import type { App, CompiledRoute, Projection } from "../app.ts";
import { SCHEMA, type Tx } from "../db.ts";
import { appliedAmong } from "./applied.ts";
import type { Findings } from "./audit-findings.ts";
import { MAX_FAILURES } from "./audit-findings.ts";
import type { Operation } from "./deliveries.ts";
import { type EventRow, readEvents, toJournalEvent } from "./events.ts";
import { prunedEvents } from "./pruned.ts";

/**
 * The shadow of a projection: its tables once more, in a schema of their own, filled by the projection's own `apply` and
 * `revert` from the journal, delivery by delivery. An audit advances it by what was delivered since the last one, and then
 * compares the rows that this touched with the real ones. Nothing is computed twice, and no transaction is long.
 */
export const AUDIT_SCHEMA = "sluice_audit";

/** Events by which a shadow is advanced in one transaction. */
const AT_ONCE = 10_000;
const APPLIED_AT_ONCE = 500;

type Context = { chainId: number; app: App };
type Delivery = { position: number; operation: Operation; state: string; events: number[] };
/**
 * A table's name and the columns that tell its rows apart: its primary key, or all of them where it has none. `isSame`: its
 * shadow has the same columns.
 */
type Keyed = { table: string; key: readonly string[]; isSame: boolean };
/** A projection with the routes that feed it, and its tables, which `prepareShadow` looks up. */
type Shadowed = { projection: Projection; routes: readonly CompiledRoute[]; tables: Keyed[] };

/** What `prepareShadow` begins with. */
export const shadowed = (app: App): Shadowed[] =>
  app.projections.map(projection => ({ projection, routes: app.routes.filter(route => route.projection === projection), tables: [] }));

/** Statements of a transaction find the shadows before the real tables from here on. */
export const ENTER_SHADOWS = `set local search_path = ${AUDIT_SCHEMA}, ${SCHEMA}`;

/** Creates a projection's shadow tables where they lack, or anew where the real ones changed their columns, empty then. */
export async function prepareShadow(tx: Tx, chainId: number, shadow: Shadowed): Promise<void> {
  const { projection, routes } = shadow;
  shadow.tables = await keyed(tx, projection.tables);
  const fresh = shadow.tables.some(({ isSame }) => !isSame);
  if (fresh) {
    for (const keyed of shadow.tables) {
      const { table } = keyed;
      await tx.query(`drop table if exists ${AUDIT_SCHEMA}.${table}`);
      await tx.query(`create table ${AUDIT_SCHEMA}.${table} (like ${SCHEMA}.${table} including all)`);
      if (isPerEvent(keyed)) continue;
      await tx.query(
        `create trigger touched after insert or update or delete on ${AUDIT_SCHEMA}.${table}
         for each row execute function ${SCHEMA}.note_touched(${keyed.key.map(name => `'${name}'`).join(", ")})`,
      );
    }
  }
  if (fresh || (await wasRestarted(tx, chainId, routes))) await forgetShadow(tx, chainId, shadow);
}

/** After a rebuild a projection was filled anew; after a resync of what was pruned, deliveries came back that are in the shadow already. */
async function wasRestarted(tx: Tx, chainId: number, routes: readonly CompiledRoute[]): Promise<boolean> {
  const { rowCount } = await tx.query(
    `select from audited a join queues q using (chain_id, queue) where chain_id = $1 and queue = any($2) and a.restarts <> q.restarts`,
    [chainId, routes.map(({ queue }) => queue)],
  );
  return rowCount! > 0;
}

async function forgetShadow(tx: Tx, chainId: number, { projection, routes }: Shadowed): Promise<void> {
  for (const table of projection.tables) await tx.query(`delete from ${AUDIT_SCHEMA}.${table} where chain_id = $1`, [chainId]);
  await tx.query("delete from audited where chain_id = $1 and queue = any($2)", [chainId, routes.map(({ queue }) => queue)]);
  await tx.query("delete from audit_touched where chain_id = $1 and relation = any($2)", [chainId, projection.tables]);
}

/** These tables, in their order. */
async function keyed(tx: Tx, tables: readonly string[]): Promise<Keyed[]> {
  const columns = (schema: string) =>
    `(select string_agg(attname || ' ' || format_type(atttypid, atttypmod), ',' order by attnum) from pg_attribute
      where attrelid = to_regclass('${schema}.' || t.name) and attnum > 0 and not attisdropped)`;
  const { rows } = await tx.query<Keyed>(
    `select t.name as table, coalesce(k.key, k.columns) as key, ${columns(SCHEMA)} is not distinct from ${columns(AUDIT_SCHEMA)} as "isSame"
     from unnest($1::text[]) with ordinality as t (name, at) cross join lateral (
       select array_agg(attname::text) filter (where attnum = any(i.indkey)) as key, array_agg(attname::text) as columns
       from pg_attribute a left join pg_index i on i.indrelid = a.attrelid and i.indisprimary
       where a.attrelid = to_regclass('${SCHEMA}.' || t.name) and a.attnum > 0 and not a.attisdropped
     ) k order by t.at`,
    [tables],
  );
  return rows;
}

/** A row per event, which nothing but the event's revert changes: compared, and its block final, it leaves the shadow. */
const isPerEvent = ({ key }: Keyed) => key.length === 2 && key.includes("chain_id") && key.includes("position");

/**
 * Advances a shadow by the next deliveries of each of its queues, some thousand events at most, as far as everything is
 * settled.
 *
 * @returns whether there is more of that
 */
export async function advanceShadow(tx: Tx, context: Context, shadow: Shadowed): Promise<boolean> {
  const { chainId } = context;
  let more = false;
  for (const { queue } of shadow.routes) {
    if (await primeShadow(tx, context, shadow, queue)) {
      more = true;
      continue;
    }
    const { rows } = await tx.query<Delivery>(
      `with reached as (
         select coalesce((select position from audited where chain_id = $1 and queue = $2), 0) as position
       ), open as (
         select least(
           (select min(position) from deliveries where chain_id = $1 and queue = $2 and state in ('pending', 'sent')),
           (select min(d.position) from deliveries d where d.chain_id = $1 and d.queue = $2 and d.state = 'dead'
             and (d.operation = 'revert' or exists (
               select from events e where e.chain_id = $1 and e.position = any(d.events) and e.live)))
         ) as position
       ), next as (
         select d.position, d.operation, d.state, d.events,
           sum(cardinality(d.events)) over (order by d.position) - cardinality(d.events) as before
         from (
           select * from deliveries where chain_id = $1 and queue = $2 and position > (select position from reached)
             and position < coalesce((select position from open), 'infinity'::float8) order by position limit ${AT_ONCE}
         ) d
       )
       select position, operation, state, events from next where before < ${AT_ONCE} order by position`,
      [chainId, queue],
    );
    const last = rows.at(-1);
    if (!last) continue;
    if (!(await carryOut(tx, context, shadow, queue, rows))) {
      await forgetShadow(tx, chainId, shadow);
      return true;
    }
    await noteAudited(tx, chainId, queue, { position: last.position, priming: null });
    more ||= rows.reduce((sum, { events }) => sum + events.length, 0) >= AT_ONCE || rows.length === AT_ONCE;
  }
  return more;
}

/**
 * Begins a queue's part of a shadow with the next events whose deliveries were pruned: they were the first, and they are done.
 * What has its delivery still comes with that.
 *
 * @returns whether there were any
 */
async function primeShadow(tx: Tx, { chainId, app }: Context, { projection }: Shadowed, queue: string): Promise<boolean> {
  const { rows: reached } = await tx.query<{ priming: number | null }>("select priming from audited where chain_id = $1 and queue = $2", [
    chainId,
    queue,
  ]);
  if (reached[0]?.priming === null) return false;
  const positions = await prunedEvents(tx, chainId, queue, { after: reached[0]?.priming ?? 0, limit: AT_ONCE });
  for (let i = 0; i < positions.length; i += APPLIED_AT_ONCE) {
    const found = await readEvents(tx, chainId, positions.slice(i, i + APPLIED_AT_ONCE));
    await projection.apply(
      tx,
      found.map(row => toJournalEvent(app, row)),
    );
  }
  const last = positions.at(-1);
  if (last !== undefined || reached[0]) await noteAudited(tx, chainId, queue, { position: 0, priming: last ?? null });
  return last !== undefined;
}

async function noteAudited(
  tx: Tx,
  chainId: number,
  queue: string,
  { position, priming }: { position: number; priming: number | null },
): Promise<void> {
  await tx.query(
    `insert into audited (chain_id, queue, position, priming, restarts)
     select $1, $2, $3, $4, restarts from queues where chain_id = $1 and queue = $2
     on conflict (chain_id, queue) do update set position = excluded.position, priming = excluded.priming`,
    [chainId, queue, position, priming],
  );
}

/**
 * Goes on, for the rest of this transaction, with what was done ahead of something that is not settled; or, after that, with
 * what is `open`, so that the shadows stand where the projections will stand when everything is delivered.
 *
 * @returns false where that is more than an audit takes in at once
 */
export async function carryOutRest(tx: Tx, context: Context, shadow: Shadowed, which: "done" | "open"): Promise<boolean> {
  for (const { queue } of shadow.routes) {
    const { rows } = await tx.query<Delivery>(
      `select position, operation, state, events from deliveries
       where chain_id = $1 and queue = $2 and state = any($3)
         and position > coalesce((select position from audited where chain_id = $1 and queue = $2), 0)
       order by position limit ${AT_ONCE}`,
      [context.chainId, queue, which === "open" ? ["pending", "sent"] : ["done"]],
    );
    if (rows.reduce((sum, { events }) => sum + events.length, 0) > AT_ONCE || rows.length === AT_ONCE) return false;
    if (!(await carryOut(tx, context, shadow, queue, rows))) return false;
  }
  return true;
}

/**
 * Does to the shadow what these deliveries did, or will do, to the real tables; an apply and its revert cancel out.
 *
 * @returns false, with nothing done, where one takes back an event whose rows have left the shadow: a reorg past finality
 */
async function carryOut(
  tx: Tx,
  { chainId, app }: Context,
  shadow: Shadowed,
  queue: string,
  deliveries: readonly Delivery[],
): Promise<boolean> {
  const { projection } = shadow;
  const applied = new Set<number>();
  const reverted = new Set<number>();
  const replayed = new Set<number>();
  for (const { operation, events } of deliveries.filter(({ state }) => state !== "dead")) {
    for (const event of events) {
      if (operation === "apply") applied.add(event);
      else if (operation === "replay") replayed.add(event);
      else {
        replayed.delete(event);
        if (!applied.delete(event)) reverted.add(event);
      }
    }
  }
  const wasApplied = new Set(await appliedAmong(tx, chainId, queue, [...reverted]));
  const back = [...reverted].filter(event => wasApplied.has(event)).sort((a, b) => b - a);
  const again = [...replayed].filter(event => !applied.has(event) && !reverted.has(event)).sort((a, b) => a - b);
  const left = await thoseThatLeft(tx, chainId, shadow, queue, [...back, ...again]);
  if (back.some(event => left.has(event))) return false;
  await fetchBack(
    tx,
    chainId,
    shadow,
    again.filter(event => left.has(event)),
  );
  // Of a delivery that is open, what a reorg took meanwhile will not be applied.
  const open = new Set(deliveries.filter(({ state }) => state === "pending" || state === "sent").flatMap(({ events }) => events));
  const inBatches = async (positions: readonly number[], work: (rows: EventRow[]) => Promise<void>) => {
    for (let i = 0; i < positions.length; i += APPLIED_AT_ONCE) {
      await work(await readEvents(tx, chainId, positions.slice(i, i + APPLIED_AT_ONCE)));
    }
  };
  const toEvents = (rows: readonly EventRow[]) => rows.map(row => toJournalEvent(app, row));
  await inBatches(back, rows => projection.revert(tx, toEvents(rows)));
  await inBatches(again, async rows => {
    await projection.revert(tx, toEvents(rows.toReversed()));
    await projection.apply(tx, toEvents(rows));
  });
  await inBatches(
    [...applied].sort((a, b) => a - b),
    async rows => {
      const live = rows.filter(row => row.live || !open.has(row.position));
      if (live.length > 0) await projection.apply(tx, toEvents(live));
    },
  );
  await touchReverted(tx, chainId, shadow, back);
  return true;
}

/** Of a table with a row per event no trigger tells that a row has to be gone. */
async function touchReverted(tx: Tx, chainId: number, shadow: Shadowed, positions: readonly number[]): Promise<void> {
  if (positions.length === 0) return;
  for (const table of perEventTables(shadow)) {
    await tx.query(
      `insert into audit_touched (chain_id, relation, key)
       select $1, $2, jsonb_build_object('chain_id', $1::bigint, 'position', position) from unnest($3::bigint[]) as position
       on conflict do nothing`,
      [chainId, table, positions],
    );
  }
}

/** Which of these events have a row in no table with a row per event any more, for it was compared and they are final. */
async function thoseThatLeft(tx: Tx, chainId: number, shadow: Shadowed, queue: string, positions: readonly number[]): Promise<Set<number>> {
  if (positions.length === 0 || perEventTables(shadow).length === 0) return new Set();
  const { rows } = await tx.query<{ position: number }>(
    `select e.position from events e join audited a on a.chain_id = e.chain_id and a.queue = $2 and e.block_number <= a.settled
     where e.chain_id = $1 and e.position = any($3)`,
    [chainId, queue, positions],
  );
  return new Set(rows.map(({ position }) => position));
}

/** Rows for a `revert` that a replay begins with. They are the real ones: those were right, and the replay makes them anew. */
async function fetchBack(tx: Tx, chainId: number, shadow: Shadowed, positions: readonly number[]): Promise<void> {
  if (positions.length === 0) return;
  for (const table of perEventTables(shadow)) {
    await tx.query(
      `insert into ${AUDIT_SCHEMA}.${table} select * from ${SCHEMA}.${table} where chain_id = $1 and position = any($2)
       on conflict do nothing`,
      [chainId, positions],
    );
  }
}

const perEventTables = ({ tables }: Shadowed) => tables.filter(isPerEvent).map(({ table }) => table);

/** I9, I10: the rows that were touched since they were last found right, in the shadow and in the real tables. */
export async function compareShadow(tx: Tx, chainId: number, { projection, tables }: Shadowed, findings: Findings): Promise<void> {
  const invariant = projection.name === "statistics" ? "I9" : "I10";
  for (const keyed of tables) {
    const { table } = keyed;
    const keys = keyed.key.map(name => `"${name}"`).join(", ");
    const noted = `select ${keyed.key.map(name => `r."${name}"`).join(", ")} from ${SCHEMA}.audit_touched t
      cross join lateral jsonb_populate_record(null::${SCHEMA}.${table}, t.key) r where t.chain_id = $1 and t.relation = '${table}'`;
    // Of a table with a row per event the shadow holds just what was not compared yet, or is not final.
    const touched = isPerEvent(keyed) ? `${noted} union select ${keys} from ${AUDIT_SCHEMA}.${table} where chain_id = $1` : noted;
    const side = (schema: string) => `select s.* from touched join ${schema}.${table} s using (${keys}) where s.chain_id = $1`;
    const difference = async (left: string, right: string) =>
      (
        await tx.query<{ row: object }>(
          `with touched as materialized (${touched})
           select to_jsonb(d) as row from (${side(left)} except all ${side(right)}) d limit ${MAX_FAILURES}`,
          [chainId],
        )
      ).rows;
    for (const { row } of await difference(AUDIT_SCHEMA, SCHEMA))
      findings.failed({ invariant, what: `a row of ${table}`, expected: row, found: "nothing" });
    for (const { row } of await difference(SCHEMA, AUDIT_SCHEMA))
      findings.failed({ invariant, what: `a row of ${table}`, expected: "nothing", found: row });
    const { rows } = await tx.query<{ n: number }>(`select count(*) as n from (${touched}) t`, [chainId]);
    findings.checked(invariant, rows[0]!.n);
  }
}

/** What was compared and found right need not be compared again; rows of an event that is not final yet stay for its revert. */
export async function settleShadow(tx: Tx, chainId: number, shadow: Shadowed, finalized: number): Promise<void> {
  const { projection, routes } = shadow;
  for (const table of perEventTables(shadow)) {
    const copy = `${AUDIT_SCHEMA}.${table}`;
    const { rowCount: others } = await tx.query(`select from ${copy} where chain_id <> $1 limit 1`, [chainId]);
    if (others === 0) {
      // What is deleted is walked past until it is vacuumed, and after the first run that is the whole history.
      await tx.query(
        `create temporary table kept on commit drop as
         select s.* from ${copy} s join events e using (chain_id, position) where e.chain_id = $1 and e.block_number > $2`,
        [chainId, finalized],
      );
      await tx.query(`truncate ${copy}`);
      await tx.query(`insert into ${copy} select * from pg_temp.kept`);
      await tx.query("drop table pg_temp.kept");
    } else {
      await tx.query(
        `delete from ${copy} s using events e
         where s.chain_id = $1 and e.chain_id = $1 and e.position = s.position and e.block_number <= $2`,
        [chainId, finalized],
      );
    }
  }
  await tx.query("delete from audit_touched where chain_id = $1 and relation = any($2)", [chainId, projection.tables]);
  await tx.query("update audited set settled = greatest(settled, $3) where chain_id = $1 and queue = any($2)", [
    chainId,
    routes.map(({ queue }) => queue),
    finalized,
  ]);
}
