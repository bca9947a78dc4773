import type { App, CompiledRoute, Projection } from "../app.ts";
import { type Db, type Tx, transaction } from "../db.ts";
import { SluiceError } from "../errors.ts";
import { storeDeliveries } from "../journal/deliveries.ts";
import { doubtAudit } from "../journal/doubt.ts";
import { planMissing, READ_AT_ONCE } from "../journal/missing.ts";
import { forgetPruned, lockPruning } from "../journal/pruned.ts";
import { lockQueue } from "../journal/queue-lock.ts";

/** What a rebuild comes to: rows taken out of each table; of each queue deliveries taken out, and events to be applied anew. */
export type Rebuilt = {
  projection: string;
  tables: Record<string, number>;
  queues: Record<string, { removed: number; events: number }>;
};

/** Places in a queue that belong to the rebuild: from `first` to `last`. What came before is removed. */
type Places = { first: number; last: number };

type Context = { db: Db; app: App; chainId: number };

/**
 * Wipes a projection's tables for this chain and has its workers apply every live event of the journal anew. The chain is
 * asked for nothing; ingestion, other projections and their readers go on. Readers of this one see it whole until the
 * commit, then empty and growing.
 *
 * One transaction, so that a rebuild which is cut short has done nothing. In it,
 *
 * 1. the queues' locks keep the relay from sending any of their deliveries;
 * 2. places in the queues are taken for the deliveries to come, in a commit of their own, so that the listener may store
 *    newer ones behind them meanwhile: the order of the places stays that of the journal;
 * 3. the deliveries before those places are deleted. That waits for workers in the middle of one; whoever comes for one
 *    later waits for us, and finds it gone;
 * 4. the tables' rows are deleted: all effects of the old deliveries are in them, and none of a new one;
 * 5. live events without a delivery get one. What a reorg takes from now on has its revert behind it.
 *
 * @throws SluiceError where the application has no such projection
 */
export async function rebuild(context: Context, name: string): Promise<Rebuilt> {
  const { db, chainId } = context;
  const { projection, routes } = findProjection(context.app, name);
  await doubtAudit(db, chainId, -1);
  const rebuilt = await transaction(db, async tx => {
    for (const { queue } of routes) {
      await lockQueue(tx, chainId, queue);
      await lockPruning(tx, chainId, queue);
    }
    const rebuilt: Rebuilt = { projection: name, tables: {}, queues: {} };
    const places = new Map<string, Places>();
    for (const { queue } of routes) {
      const taken = await takePlaces(db, chainId, queue);
      places.set(queue, taken);
      const { rowCount } = await tx.query("delete from deliveries where chain_id = $1 and queue = $2 and position < $3", [
        chainId,
        queue,
        taken.first,
      ]);
      rebuilt.queues[queue] = { removed: rowCount ?? 0, events: 0 };
      await forgetPruned(tx, chainId, queue);
    }
    for (const table of projection.tables) {
      const { rowCount } = await tx.query(`delete from ${table} where chain_id = $1`, [chainId]);
      rebuilt.tables[table] = rowCount ?? 0;
    }
    for (const route of routes) {
      const queue = rebuilt.queues[route.queue]!;
      const { events, stored } = await fillPlaces(tx, context, route, places.get(route.queue)!);
      queue.events = events;
      await tx.query(
        "update queues set removed = removed + $3 + pruned, pruned = 0, restarts = restarts + 1 where chain_id = $1 and queue = $2",
        [chainId, route.queue, queue.removed - stored],
      );
    }
    return rebuilt;
  });
  // Not in the transaction: the listener takes its row first and the queues' then, so the other way round would lock crosswise.
  await doubtAudit(db, chainId, -1);
  return rebuilt;
}

/** What `rebuild` would do, at one moment. Changes nothing. */
export async function planRebuild({ db, app, chainId }: Context, name: string): Promise<Rebuilt> {
  const { projection, routes } = findProjection(app, name);
  return transaction(
    db,
    async tx => {
      const count = async (query: string, ...values: unknown[]) =>
        (await tx.query<{ n: number }>(`select count(*) as n from ${query}`, [chainId, ...values])).rows[0]!.n;
      const rebuilt: Rebuilt = { projection: name, tables: {}, queues: {} };
      for (const table of projection.tables) rebuilt.tables[table] = await count(`${table} where chain_id = $1`);
      for (const { queue, events } of routes) {
        rebuilt.queues[queue] = {
          removed: await count("deliveries where chain_id = $1 and queue = $2", queue),
          events: await count("events where chain_id = $1 and live and contract || '.' || name = any($2)", [...events]),
        };
      }
      return rebuilt;
    },
    "repeatable read",
  );
}

function findProjection(app: App, name: string): { projection: Projection; routes: CompiledRoute[] } {
  const projection = app.projections.find(one => one.name === name);
  if (!projection) {
    if (app.routes.some(route => route.queue === name)) {
      throw new SluiceError(`the queue ${name} feeds no projection: what came of its jobs is not here to be wiped`, {
        hint: `to deliver its events again, run \`npm run replay -- --queue ${name}\``,
      });
    }
    throw new SluiceError(`there is no projection ${JSON.stringify(name)}`, {
      hint: `the projections are ${app.projections.map(one => one.name).join(", ")}`,
    });
  }
  // In one order everywhere, so that two rebuilds wait for each other and never crosswise.
  const routes = app.routes.filter(route => route.projection === projection).sort((a, b) => (a.queue < b.queue ? -1 : 1));
  return { projection, routes };
}

/**
 * Takes as many places as the journal has events: no fewer than there will be deliveries, and known without counting. They
 * count as removed until something is stored in them.
 */
async function takePlaces(db: Db, chainId: number, queue: string): Promise<Places> {
  return transaction(db, async tx => {
    // Whoever stores deliveries holds this row until its commit, so every event without one is seen from here on.
    await tx.query(
      "insert into queues (chain_id, queue) values ($1, $2) on conflict (chain_id, queue) do update set queue = excluded.queue",
      [chainId, queue],
    );
    const { rows } = await tx.query<{ created: number; events: number }>(
      `update queues q set created = q.created + c.events, removed = q.removed + c.events from checkpoint c
       where q.chain_id = $1 and q.queue = $2 and c.chain_id = $1 returning q.created, c.events`,
      [chainId, queue],
    );
    if (!rows[0]) throw new SluiceError(`nothing of chain ${chainId} has been followed yet`, { hint: "run `npm run listen` first" });
    return { first: rows[0].created - rows[0].events + 1, last: rows[0].created };
  });
}

async function fillPlaces(tx: Tx, { app, chainId }: Context, route: CompiledRoute, { first, last }: Places) {
  let next = first;
  let events = 0;
  for (let after: number | undefined = 0; after !== undefined; ) {
    const missing = await planMissing(tx, { app, chainId, route, names: [...route.events], after, limit: READ_AT_ONCE });
    const placed = missing.drafts.map(draft => ({ ...draft, position: next++ }));
    if (next - 1 > last) throw new Error(`queue ${route.queue} needs more places than ${first} to ${last}`);
    await storeDeliveries(tx, chainId, placed);
    events += missing.events;
    after = missing.last;
  }
  return { events, stored: next - first };
}
