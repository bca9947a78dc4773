import type { App } from "../app.ts";
import type { BlockRef } from "../chain/types.ts";
import { type Db, type Tx, transaction } from "../db.ts";
import { coversEvent, MAX_SPREAD } from "../journal/deliveries.ts";
import { EVENT_COLUMNS, eventId, type Occurrence, TIME } from "../journal/events.ts";
import { dueUpTo, heldBlock } from "../journal/waiting.ts";
import { ENDPOINT_COLUMNS, type Endpoint, type EndpointRow, toEndpoint } from "./endpoints.ts";
import { accountsOf, createMatcher } from "./filter.ts";
import { type MessageOperation, messageId } from "./payload.ts";

/** Places of the journal that one transaction looks at, at most. */
const PAGE = 2_000;

export const COLUMNS = `${EVENT_COLUMNS.replace(/\w+/g, "e.$&")}, ${TIME} as time`;

export type PlanOptions = {
  db: Db;
  app: App;
  chainId: number;
  /** The last block that the node calls safe, where an endpoint asks for that. */
  safe?: BlockRef | undefined;
};

type Cursor = { position: number; reorgs: number; from_block: number };
type Edge = { known: number; taken: number; tip: number; finalized: number; safe: number | null };

/**
 * Makes messages of what an endpoint has not been told of yet, and moves its cursor, in one transaction: a crash leaves
 * both or neither. First the reorgs since: what was told and is live no more is told `reverted`, the newest first. Then the
 * events that follow, in the order of the journal, up to the first live one that is not final enough for this endpoint.
 * What was orphaned before it was told is not told at all.
 *
 * @returns `more` where another call would find something now, `waits` where one would later though nothing has changed
 */
export async function planEndpoint({ db, app, chainId, safe }: PlanOptions, id: string): Promise<"more" | "waits" | "done"> {
  return transaction(
    db,
    async tx => {
      // One statement for all three: with many endpoints the way to Postgres and back is what planning costs.
      const { rows: found } = await tx.query<EndpointRow & Cursor & Edge>(
        `select ${ENDPOINT_COLUMNS}, c.position, c.reorgs, c.from_block, k.events as known, k.reorgs as taken,
           coalesce(k.tip_number, -1) as tip, coalesce(k.finalized_number, -1) as finalized, ${heldBlock("$3::bigint", "$4::text")} as safe
         from webhook_cursors c join webhooks w on w.chain_id = c.chain_id and w.id = c.endpoint join checkpoint k on k.chain_id = c.chain_id
         where c.chain_id = $1 and c.endpoint = $2 and w.state = 'active' for update of c skip locked`,
        [chainId, id, safe?.number ?? null, safe?.hash ?? null],
      );
      const row = found[0];
      if (!row) return "waits";
      const [cursor, edge]: [Cursor, Edge] = [row, row];
      const endpoint = toEndpoint(row);
      const moved = { position: cursor.position, reorgs: edge.taken };
      const drafts: Draft[] = [];
      let waits = false;
      if (edge.taken > cursor.reorgs) {
        const taken = await readTaken(tx, chainId, id, { after: cursor.reorgs, upTo: edge.taken });
        drafts.push(...group(app, endpoint, taken, "reverted"));
      }
      const until = await readUntil(tx, chainId, cursor, edge, dueUpTo(endpoint.finality, { ...edge, safe: edge.safe ?? undefined }));
      if (until > cursor.position) {
        const matches = createMatcher(app, endpoint);
        const wanted = (await readLive(tx, chainId, endpoint, { after: cursor.position, until, fromBlock: cursor.from_block })).filter(
          matches,
        );
        const full = group(app, endpoint, wanted, "event");
        const last = full.at(-1);
        // A request that is not full yet waits for more, unless its oldest event has waited long enough.
        const first = last?.rows[0];
        waits = first !== undefined && last!.rows.length < endpoint.batch && Date.now() - first.seen_at.getTime() < endpoint.wait;
        if (waits) full.pop();
        drafts.push(...full);
        moved.position = waits ? first!.position - 1 : until;
      }
      if (moved.position === cursor.position && moved.reorgs === cursor.reorgs) return waits ? "waits" : "done";
      await insertMessages(tx, chainId, id, drafts, moved);
      if (waits) return "waits";
      return until - cursor.position === PAGE ? "more" : "done";
    },
    "repeatable read",
  );
}

/** The place before the first live event that is not final enough, or a page's end. */
async function readUntil(tx: Tx, chainId: number, { position }: Cursor, edge: Edge, threshold: number): Promise<number> {
  const end = Math.min(position + PAGE, edge.known);
  if (end <= position) return position;
  if (threshold >= edge.tip) return end;
  const { rows } = await tx.query<{ position: number }>(
    `select position from events where chain_id = $1 and position > $2 and position <= $3 and live and block_number > $4 order by position limit 1`,
    [chainId, position, end, threshold],
  );
  return rows[0] ? rows[0].position - 1 : end;
}

async function readLive(
  tx: Tx,
  chainId: number,
  { events }: Pick<Endpoint, "events">,
  { after, until, fromBlock }: { after: number; until: number; fromBlock: number },
): Promise<Occurrence[]> {
  const { rows } = await tx.query<Occurrence>(
    `select ${COLUMNS} from events e where chain_id = $1 and position > $2 and position <= $3 and live and arguments is not null
       and block_number >= $4 and (cardinality($5::text[]) = 0 or contract || '.' || name = any($5)) order by position`,
    [chainId, after, until, fromBlock, events],
  );
  return rows;
}

/** The events that these reorgs took and that this endpoint was told of, as each reorg took them: the newest first. */
async function readTaken(tx: Tx, chainId: number, id: string, { after, upTo }: { after: number; upTo: number }): Promise<Occurrence[]> {
  const { rows } = await tx.query<Occurrence>(
    `select ${COLUMNS} from reorgs r cross join unnest(r.removed) with ordinality as t (position, place)
       join events e on e.chain_id = r.chain_id and e.position = t.position
     where r.chain_id = $1 and r.number > $3 and r.number <= $4 and exists (
       select from webhook_messages m where m.chain_id = $1 and m.endpoint = $2 and m.operation = 'event' and ${coversEvent("t.position", "m")})
     order by r.number, t.place`,
    [chainId, id, after, upTo],
  );
  return rows;
}

/** A message before it has its place. */
export type Draft = { operation: MessageOperation; id: string; rows: readonly Occurrence[]; keys: string[] };

/** Puts events into messages of `batch` at most, in their order. Pure. */
export function group(
  app: App,
  endpoint: Pick<Endpoint, "batch" | "ordered">,
  rows: readonly Occurrence[],
  operation: MessageOperation,
): Draft[] {
  const batches: Occurrence[][] = [];
  for (const row of rows) {
    const open = batches.at(-1);
    const fits = open && open.length < endpoint.batch && Math.abs(row.position - open[0]!.position) < MAX_SPREAD;
    if (fits) open.push(row);
    else batches.push([row]);
  }
  return batches.map(batch => ({
    operation,
    id: messageId(
      operation,
      batch.map(row => ({ id: eventId(row.chain_id, row.block_hash, row.log_index), time: row.time })),
    ),
    rows: batch,
    // Events without an account are in order among themselves.
    keys: endpoint.ordered ? [...new Set(batch.flatMap(row => lanesOf(app, row)))] : [],
  }));
}

function lanesOf(app: App, { contract, name, arguments: given }: Occurrence): string[] {
  const accounts = accountsOf(app, contract, name, given ?? {});
  return accounts.length > 0 ? accounts : ["-"];
}

/**
 * Gives messages the next places of their endpoint, and moves its cursor where `moved` is given. Holds the cursor's row until
 * the end of `tx`. Gives the last sequence.
 */
export async function insertMessages(
  tx: Tx,
  chainId: number,
  id: string,
  drafts: readonly Draft[],
  moved?: { position: number; reorgs: number },
): Promise<number | undefined> {
  const { rows } = await tx.query<{ sequence: number }>(
    `update webhook_cursors set sequence = sequence + $3, position = coalesce($4, position), reorgs = coalesce($5, reorgs)
     where chain_id = $1 and endpoint = $2 returning sequence`,
    [chainId, id, drafts.length, moved?.position ?? null, moved?.reorgs ?? null],
  );
  if (!rows[0] || drafts.length === 0) return rows[0]?.sequence;
  const first = rows[0].sequence - drafts.length + 1;
  await tx.query(
    `insert into webhook_messages (chain_id, endpoint, sequence, id, operation, events, first_event, last_event, keys)
     select $1, $2, sequence, id, operation, events::bigint[], first_event, last_event, string_to_array(keys, ',')
     from unnest($3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::text[])
       as m (sequence, id, operation, events, first_event, last_event, keys)`,
    [
      chainId,
      id,
      drafts.map((_, i) => first + i),
      drafts.map(draft => draft.id),
      drafts.map(({ operation }) => operation),
      drafts.map(({ rows: [...events] }) => `{${events.map(({ position }) => position).join(",")}}`),
      drafts.map(({ rows: events }) => (events.length > 0 ? Math.min(events[0]!.position, events.at(-1)!.position) : null)),
      drafts.map(({ rows: events }) => (events.length > 0 ? Math.max(events[0]!.position, events.at(-1)!.position) : null)),
      drafts.map(({ keys }) => keys.join(",")),
    ],
  );
  return rows[0].sequence;
}
