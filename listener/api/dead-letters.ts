import { z } from "zod";
import { eventId } from "../journal/events.ts";
import type { DeadLetter } from "../worker/dead-letters.ts";
import { listOf, pageOf } from "./page.ts";
import { read } from "./read.ts";
import { time } from "./schemas.ts";

export const deadLetterOf = z.object({
  queue: z.string(),
  position: z.int().describe("its place in the queue"),
  operation: z.enum(["apply", "revert", "run", "replay"]),
  events: z.array(z.string()).describe("the ids of the events that it covers"),
  attempts: z.int(),
  lastError: z.string().nullable(),
  at: time.describe("when it was given up"),
});

type Row = Omit<z.output<typeof deadLetterOf>, "events"> & { ids: { block_hash: string; log_index: number }[] };

const list = listOf("dead-letters", deadLetterOf, z.tuple([z.string(), z.int()]));

export const showDeadLetter = ({ events, reason: _, ...letter }: DeadLetter): z.output<typeof deadLetterOf> => ({
  ...letter,
  events: events.map(({ id }) => id),
});

/** Deliveries that were given up, each with its reason. */
export const deadLettersRead = () =>
  read({
    path: "dead-letters",
    tag: "dead letters",
    summary: "Dead letters by queue, the newest of each first",
    query: z.strictObject({ ...list.query, queue: z.string().max(100).optional() }),
    response: list.response,
    async handle({ sql, chainId, query }) {
      const [afterQueue, afterPosition] = query.cursor ?? [null, null];
      const { rows } = await sql.query<Row>(
        `select d.queue, d.position, d.operation, d.attempts, d.last_error as "lastError", coalesce(d.done_at, d.created_at) as at, e.ids
         from (
           select * from deliveries
           where chain_id = $1 and state = 'dead' and ($3::text is null or queue = $3)
             and ($4::text is null or (queue, position) < ($4, $5::bigint))
           order by queue desc, position desc limit $2
         ) d
         cross join lateral (
           select coalesce(json_agg(json_build_object('block_hash', block_hash, 'log_index', log_index) order by n), '[]') as ids
           from unnest(d.events) with ordinality as u (event, n) join events on chain_id = $1 and events.position = u.event
         ) e
         order by d.queue desc, d.position desc`,
        [chainId, query.limit + 1, query.queue ?? null, afterQueue, afterPosition],
      );
      const { items, nextCursor } = pageOf(rows, query.limit, (row): [string, number] => [row.queue, row.position]);
      return {
        items: items.map(({ ids, ...letter }) => ({
          ...letter,
          events: ids.map(({ block_hash, log_index }) => eventId(chainId, block_hash, log_index)),
        })),
        nextCursor,
      };
    },
  });
