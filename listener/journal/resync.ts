import type { App } from "../app.ts";
import type { ChainIdentity } from "../chain/identity.ts";
import { logRanges } from "../chain/ranges.ts";
import type { BlockRef, ChainSource, Header, Hex } from "../chain/types.ts";
import { type Db, type Tx, transaction } from "../db.ts";
import { SluiceError } from "../errors.ts";
import { insertReorg } from "./changes.ts";
import { type Halted, readHalted } from "./halt.ts";
import { knownAtOrBelow } from "./known-block.ts";
import { isOnlyPruned, lockPruning, restorePruned } from "./pruned.ts";
import { takeBack } from "./take-back.ts";
import { NOTIFY } from "./wake.ts";

/**
 * What a resync does: everything from block `from` on is taken back and read from the chain again. `ancestor`, the block
 * below, is the chain's and stays; where there is none the journal begins anew. `events` are orphaned and reverted;
 * for `ran` of them a task ran already, which nothing takes back.
 */
export type ResyncPlan = {
  from: number;
  ancestor: Header | undefined;
  tip: BlockRef | undefined;
  finalized: BlockRef | undefined;
  halted: Halted | null;
  events: number;
  ran: number;
};

export type ResyncOptions = { db: Db; app: App; source: ChainSource; identity: ChainIdentity };

type Row = {
  start_block: number;
  genesis_hash: Hex;
  tip_number: number | null;
  tip_hash: Hex;
  finalized_number: number | null;
  finalized_hash: Hex;
};

/** Events that are taken back at once. */
const AT_ONCE = 5_000;

/**
 * Finds out what has to be taken back: what the node's chain does not hold, or everything from `from` on where that is more.
 * Changes nothing.
 *
 * @throws SluiceError where the block below `from` is not the node's, or nothing was followed yet
 */
export async function planResync({ db, app, source, identity }: ResyncOptions, from?: number): Promise<ResyncPlan> {
  const { chainId, genesis } = identity;
  const { rows } = await db.query<Row>(
    "select start_block, genesis_hash, tip_number, tip_hash, finalized_number, finalized_hash from checkpoint where chain_id = $1",
    [chainId],
  );
  const row = rows[0];
  if (!row) throw new SluiceError(`nothing of chain ${chainId} has been followed yet`, { hint: "run `npm run listen`" });
  const start = row.start_block;
  const tip = row.tip_number ?? start - 1;
  const common = row.genesis_hash === genesis ? await lastCommon(db, source, chainId, start, tip) : start - 1;
  const chosen = Math.min(Math.max(from ?? common + 1, start), tip + 1);
  if (chosen > common + 1) {
    throw new SluiceError(`the node's chain is not the journal's from block ${common + 1} on, so it cannot be resumed at block ${chosen}`, {
      hint: `run \`npm run resync -- --from ${common + 1}\``,
    });
  }
  const ancestor = chosen > start ? await source.headerByNumber(chosen - 1) : undefined;
  if (chosen > start && !ancestor) throw new SluiceError(`the node no longer has block ${chosen - 1}`, { hint: "run the command again" });
  return {
    from: chosen,
    ancestor,
    tip: row.tip_number === null ? undefined : { number: row.tip_number, hash: row.tip_hash },
    finalized: row.finalized_number === null ? undefined : { number: row.finalized_number, hash: row.finalized_hash },
    halted: await readHalted(db, chainId),
    ...(await count(db, app, chainId, chosen)),
  };
}

/**
 * The last block up to which the node's chain and the journal say the same: every block that the journal knows by its hash
 * is the node's, and the node has no log that the journal lacks. Final blocks without events are not known by their hash.
 */
async function lastCommon(db: Db, source: ChainSource, chainId: number, start: number, tip: number): Promise<number> {
  let [low, high] = [start - 1, tip];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const known = await knownAtOrBelow(db, chainId, middle);
    const isCommon = !known || known.number <= low || (await source.headerByNumber(known.number))?.hash === known.hash;
    if (isCommon) low = middle;
    else high = known.number - 1;
  }
  const known = await knownAtOrBelow(db, chainId, low);
  const head = await source.head();
  if (known?.number === low || low > head.number) return Math.min(low, head.number);
  for await (const { logs } of logRanges(source, (known?.number ?? start - 1) + 1, low)) if (logs[0]) return logs[0].blockNumber - 1;
  return low;
}

async function count(db: Db, app: App, chainId: number, from: number): Promise<{ events: number; ran: number }> {
  const tasks = app.routes.filter(route => route.task).map(({ queue }) => queue);
  const final = app.routes.filter(({ undoable }) => !undoable).map(({ queue }) => queue);
  const { rows } = await db.query<{ events: number; ran: number }>(
    `select count(distinct e.position) as events,
       count(distinct e.position) filter (where d.last_event is not null or exists (
         select from unnest($4::text[]) as q (name) where ${isOnlyPruned("q.name")})) as ran
     from events e left join deliveries d
       on d.chain_id = $1 and d.queue = any($3) and d.last_event = e.position and d.operation = 'run' and d.state = 'done'
     where e.chain_id = $1 and e.block_number >= $2 and e.live`,
    [chainId, from, tasks, final],
  );
  return rows[0]!;
}

/**
 * Carries a plan out, in one transaction: events from that block on are orphaned, what is applied of them is reverted by
 * their queues, the tip and the finalized block go down to the ancestor, and the journal is halted no longer. What is not
 * yet delivered to a task never will be. The epoch goes up, so that no earlier writer commits any more.
 *
 * @throws SluiceError where a listener writes, or the journal moved since the plan was made
 */
export async function resync(db: Db, { app, identity }: Pick<ResyncOptions, "app" | "identity">, plan: ResyncPlan): Promise<void> {
  const { chainId, genesis, instance } = identity;
  const { from, ancestor, halted } = plan;
  const queues = app.routes.filter(({ undoable }) => undoable).map(({ queue }) => queue);
  await transaction(db, async tx => {
    for (const queue of queues.sort()) await lockPruning(tx, chainId, queue);
    const { rows } = await tx.query<{ events: number; reorgs: number }>(
      `update checkpoint set epoch = epoch + 1, writer = null, lease_until = '-infinity', updated_at = now(), reorgs = reorgs + 1,
         halted_reason = null, halted_block = null, halted_at = null, genesis_hash = $2, instance = $3,
         tip_number = $5::bigint, tip_hash = $6::text,
         finalized_hash = case when finalized_number >= $7 then $6 else finalized_hash end,
         finalized_number = case when finalized_number >= $7 then $5 else finalized_number end,
         doubts = doubts + 1, audited_to = case when audited_to >= $7 then $5 else audited_to end
       where chain_id = $1 and tip_hash is not distinct from $4 and lease_until < clock_timestamp() returning events, reorgs, ${NOTIFY}`,
      [chainId, genesis, instance ?? null, plan.tip?.hash ?? null, ancestor?.number ?? null, ancestor?.hash ?? null, from],
    );
    if (!rows[0]) {
      throw new SluiceError("a listener writes, or the journal moved meanwhile", {
        hint: "stop the listeners (`npm run status` names the leader), then run the command again",
      });
    }
    await tx.query("insert into resyncs (chain_id, from_block, last_event, reason) values ($1, $2, $3, $4)", [
      chainId,
      from,
      rows[0].events,
      halted?.reason ?? null,
    ]);
    await keepBlocksBelow(tx, chainId, from, ancestor);
    // A past that was being read goes on from where it is still the chain's.
    await tx.query("update contracts set included_to = $2 where chain_id = $1 and included_to > $2", [chainId, from - 1]);
    for (const queue of queues) await restorePruned(tx, { chainId, queue, from });
    const removed: number[] = [];
    for (let before: number | undefined; ; ) {
      const { orphaned } = await takeBack(tx, { app, chainId, above: from - 1, limit: AT_ONCE, ...(before ? { before } : {}) });
      if (orphaned.length === 0) break;
      removed.push(...orphaned.map(({ position }) => position));
      before = removed.at(-1);
    }
    await insertReorg(tx, chainId, { ...rows[0], ancestor, removed });
  });
}

/** The blocks held end in the ancestor, whose header the journal may have dropped long ago. */
async function keepBlocksBelow(tx: Tx, chainId: number, from: number, ancestor: Header | undefined): Promise<void> {
  await tx.query("delete from blocks where chain_id = $1 and number >= $2", [chainId, from]);
  if (!ancestor) return;
  await tx.query(`insert into blocks (chain_id, number, hash, parent_hash, timestamp) values ($1, $2, $3, $4, $5) on conflict do nothing`, [
    chainId,
    ancestor.number,
    ancestor.hash,
    ancestor.parentHash,
    ancestor.timestamp,
  ]);
}
