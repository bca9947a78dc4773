import type { Hex } from "../chain/types.ts";
import type { Sql, Tx } from "../db.ts";
import type { Operation } from "../journal/deliveries.ts";
import { eventId } from "../journal/events.ts";
import { chosenEvents, type EventChoice } from "./event-choice.ts";

/** An event of a dead letter. `raw` is the log of one that could not be decoded; `live` is false for what a reorg took. */
export type DeadEvent = { id: string; name: string; block: number; live: boolean; raw: { topics: Hex[]; data: Hex } | null };

/** A delivery that was given up. `reason` is the first line of `lastError`, which has the stack too. */
export type DeadLetter = {
  queue: string;
  position: number;
  operation: Operation;
  events: DeadEvent[];
  attempts: number;
  reason: string;
  lastError: string | null;
  /** When it was given up. */
  at: Date;
};

/** Which dead letters: all of them where nothing is said. */
export type DeadLetterChoice = {
  queue?: string | undefined;
  position?: number | undefined;
  event?: EventChoice | undefined;
  limit?: number;
};

type Row = Omit<DeadLetter, "events" | "reason"> & {
  events: {
    block_hash: Hex;
    log_index: number;
    block_number: number;
    name: string;
    live: boolean;
    topics: Hex[] | null;
    data: Hex | null;
  }[];
};

/** Dead letters by queue and position. */
export async function listDeadLetters(sql: Sql, chainId: number, choice: DeadLetterChoice = {}): Promise<DeadLetter[]> {
  const { condition, parameters } = chosenEvents(choice.event, 5);
  const { rows } = await sql.query<Row>(
    `select d.queue, d.position, d.operation, d.attempts, d.last_error as "lastError", coalesce(d.done_at, d.created_at) as at, e.events
     from deliveries d cross join lateral (
       select bool_or(${condition}) as chosen, coalesce(json_agg(json_build_object(
         'block_hash', block_hash, 'log_index', log_index, 'block_number', block_number, 'name', contract || '.' || name, 'live', live,
         'topics', case when error is not null then topics end, 'data', case when error is not null then data end) order by n), '[]') as events
       from unnest(d.events) with ordinality as u (event, n) join events on chain_id = $1 and events.position = u.event
     ) e
     where d.chain_id = $1 and d.state = 'dead' and ($2::text is null or d.queue = $2) and ($3::bigint is null or d.position = $3) and e.chosen
     order by d.queue, d.position limit $4`,
    [chainId, choice.queue ?? null, choice.position ?? null, choice.limit ?? null, ...parameters],
  );
  return rows.map(({ events, ...row }) => ({
    ...row,
    reason: row.lastError?.split("\n", 1)[0] ?? "unknown",
    events: events.map(event => ({
      id: eventId(chainId, event.block_hash, event.log_index),
      name: event.name,
      block: event.block_number,
      live: event.live,
      raw: event.topics && event.data !== null ? { topics: event.topics, data: event.data } : null,
    })),
  }));
}

/**
 * Puts dead letters back into their places, with all attempts before them: the relay sends them again, and an ordered lane
 * that one of them had parked goes on behind it. Nothing is applied that is not live by then, and nothing is reverted
 * that was not applied, so a retry may come late.
 *
 * @returns those that were put back, as they were before
 */
export async function retryDeadLetters(tx: Tx, chainId: number, choice: DeadLetterChoice = {}): Promise<DeadLetter[]> {
  const letters = await listDeadLetters(tx, chainId, choice);
  const { rows } = await tx.query<{ queue: string; position: number }>(
    `update deliveries d set state = 'pending', attempts = 0, done_at = null
     from unnest($2::text[], $3::bigint[]) as c (queue, position)
     where d.chain_id = $1 and d.queue = c.queue and d.position = c.position and d.state = 'dead' returning d.queue, d.position`,
    [chainId, letters.map(({ queue }) => queue), letters.map(({ position }) => position)],
  );
  const back = new Set(rows.map(({ queue, position }) => `${queue} ${position}`));
  return letters.filter(({ queue, position }) => back.has(`${queue} ${position}`));
}
