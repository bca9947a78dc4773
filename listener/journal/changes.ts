import type { App } from "../app.ts";
import type { BlockRef } from "../chain/types.ts";
import type { Sql, Tx } from "../db.ts";
import { eventId, LISTED_COLUMNS, type ListedEvent } from "./events.ts";

/**
 * What happened to the journal as one sequence: events by position, and each reorg after the last event that was recorded
 * before it. Nothing is ever put in between, so a place in it is a pair of numbers: the last event and the last reorg so far.
 */
export type Cursor = { position: number; reorgs: number };

export type Change =
  /** `finalized`: the number of the last final block when the row was read, -1 before there is one. */
  | { type: "event"; cursor: Cursor; row: ListedEvent; finalized: number }
  /** `removed`: ids of the events that it took back, the newest first. `ancestor` is null where nothing was left. */
  | { type: "reorg"; cursor: Cursor; ancestor: BlockRef | null; removed: string[]; at: Date };

/** Which events are wanted; reorgs always are. `account`: lower-case hex, an address among the arguments. */
export type ChangeFilter = { event?: string | undefined; contract?: string | undefined; account?: string | undefined };

/** Changes in order, and the place up to which everything that is wanted is among them. */
export type ChangePage = { changes: Change[]; cursor: Cursor };

/** A cursor lies beyond the end of the journal: it is of one that was there before. */
export class CursorAheadError extends Error {
  constructor(cursor: Cursor, edge: Cursor) {
    super(`the cursor ${showCursor(cursor)} lies beyond ${showCursor(edge)}, the end of this journal`);
    this.name = "CursorAheadError";
  }
}

/** Events that one page looks at: what a filter drops counts, so that a page is never a long search. */
export const PAGE = 1_000;

const CURSOR = /^(\d{1,15})-(\d{1,15})$/;

export const showCursor = ({ position, reorgs }: Cursor) => `${position}-${reorgs}`;

/** Undefined where the text is no cursor. */
export function parseCursor(text: string): Cursor | undefined {
  const [, position, reorgs] = CURSOR.exec(text) ?? [];
  return position === undefined ? undefined : { position: Number(position), reorgs: Number(reorgs) };
}

/** Whether there is something between the two. */
export const isBefore = (a: Cursor, b: Cursor) => a.position < b.position || a.reorgs < b.reorgs;

/** Whether an event is wanted. */
export function createMatcher(app: App, { event, contract, account }: ChangeFilter): (row: ListedEvent) => boolean {
  return row =>
    (event === undefined || row.name === event) &&
    (contract === undefined || row.contract === contract) &&
    (account === undefined ||
      (row.arguments !== null && (app.decoderOf(row.contract, row.name)?.addresses(row.arguments).includes(account) ?? false)));
}

/** The end of the journal as it is now. */
export async function readEdge(sql: Sql, chainId: number): Promise<Cursor> {
  const { position, reorgs } = await readEnd(sql, chainId);
  return { position, reorgs };
}

async function readEnd(sql: Sql, chainId: number): Promise<Cursor & { finalized: number }> {
  const { rows } = await sql.query<Cursor & { finalized: number }>(
    "select events as position, reorgs, coalesce(finalized_number, -1) as finalized from checkpoint where chain_id = $1",
    [chainId],
  );
  return rows[0] ?? { position: 0, reorgs: 0, finalized: -1 };
}

/**
 * What comes after a cursor: all of it, or as much as `PAGE` events hold. Below the edge nothing changes any more, so these
 * statements need no common snapshot.
 *
 * @throws CursorAheadError
 */
export async function readChanges(sql: Sql, app: App, chainId: number, after: Cursor, filter: ChangeFilter = {}): Promise<ChangePage> {
  const { finalized, ...edge } = await readEnd(sql, chainId);
  if (isBefore(edge, after)) throw new CursorAheadError(after, edge);
  const until = Math.min(after.position + PAGE, edge.position);
  const reorgs = edge.reorgs > after.reorgs ? await readReorgs(sql, chainId, { after, edge, until }) : [];
  const cut = reorgs.length === PAGE;
  const to = cut ? Math.max(after.position, reorgs.at(-1)!.after_position) : until;
  const events = to > after.position ? await readEventsBetween(sql, chainId, { after: after.position, to, filter }) : [];
  const matches = createMatcher(app, filter);

  const changes: Change[] = [];
  let seen = after.reorgs;
  const addReorg = ({ number, after_position, ancestor_number, ancestor_hash, removed, at }: ReorgRow) => {
    seen = number;
    changes.push({
      type: "reorg",
      cursor: { position: Math.max(after.position, after_position), reorgs: number },
      ancestor: ancestor_number === null ? null : { number: ancestor_number, hash: ancestor_hash },
      removed: removed.map(([hash, index]) => eventId(chainId, hash, index)),
      at,
    });
  };
  for (const row of events) {
    while (reorgs[0] && reorgs[0].after_position < row.position) addReorg(reorgs.shift()!);
    if (matches(row)) changes.push({ type: "event", cursor: { position: row.position, reorgs: seen }, row, finalized });
  }
  for (const reorg of reorgs) addReorg(reorg);
  return { changes, cursor: to === edge.position && !cut ? edge : { position: to, reorgs: seen } };
}

type ReorgRow = {
  number: number;
  after_position: number;
  ancestor_number: number | null;
  ancestor_hash: string;
  removed: [hash: string, index: number][];
  at: Date;
};

async function readReorgs(
  sql: Sql,
  chainId: number,
  { after, edge, until }: { after: Cursor; edge: Cursor; until: number },
): Promise<ReorgRow[]> {
  const { rows } = await sql.query<ReorgRow>(
    `select number, after_position, ancestor_number, ancestor_hash, at, (
       select coalesce(json_agg(json_build_array(e.block_hash, e.log_index) order by e.position desc), '[]')
       from events e where e.chain_id = $1 and e.position = any(r.removed)
     ) as removed
     from reorgs r where chain_id = $1 and number > $2 and number <= $3 and after_position <= $4 order by number limit ${PAGE}`,
    [chainId, after.reorgs, edge.reorgs, until],
  );
  return rows;
}

async function readEventsBetween(
  sql: Sql,
  chainId: number,
  { after, to, filter }: { after: number; to: number; filter: ChangeFilter },
): Promise<ListedEvent[]> {
  // An address somewhere in the text of the arguments is only a first sieve: the matcher knows which of them are addresses.
  const { rows } = await sql.query<ListedEvent>(
    `select ${LISTED_COLUMNS} from events
     where chain_id = $1 and position > $2 and position <= $3 and ($4::text is null or name = $4) and ($5::text is null or contract = $5)
       and ($6::text is null or strpos(arguments::text, $6) > 0)
     order by position`,
    [chainId, after, to, filter.event ?? null, filter.contract ?? null, filter.account ?? null],
  );
  return rows;
}

/** Writes a reorg down in its place. `events`, `reorgs`: how many of each there are with it. */
export async function insertReorg(
  tx: Tx,
  chainId: number,
  reorg: { events: number; reorgs: number; ancestor: BlockRef | undefined; removed: readonly number[] },
): Promise<void> {
  await tx.query(
    `insert into reorgs (chain_id, number, after_position, ancestor_number, ancestor_hash, removed) values ($1, $2, $3, $4, $5, $6)`,
    [chainId, reorg.reorgs, reorg.events, reorg.ancestor?.number ?? null, reorg.ancestor?.hash ?? null, reorg.removed],
  );
}
