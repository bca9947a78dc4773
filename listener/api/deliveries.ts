import { z } from "zod";
import type { Sql } from "../db.ts";
import { coversEvent, shownState } from "../journal/deliveries.ts";
import { isOnlyPruned } from "../journal/pruned.ts";
import { listOf, pageOf } from "./page.ts";
import { read } from "./read.ts";
import { time, typeNames } from "./schemas.ts";

const STATES = ["pending", "sent", "done", "dead"] as const;

/** A delivery as the API shows it. */
export const delivery = z.object({
  queue: z.string(),
  position: z.int().describe("its place in the queue"),
  operation: z.enum(["apply", "revert", "run", "replay"]),
  state: z.enum(STATES),
  attempts: z.int(),
  lastError: z.string().nullable(),
  createdAt: time,
  sentAt: time.nullable(),
  doneAt: time.nullable(),
});
typeNames.add(delivery, { name: "Delivery" });
export type Delivery = z.output<typeof delivery>;

const COLUMNS = `d.queue, d.position, d.operation, ${shownState()} as state, d.attempts, d.last_error as "lastError", d.created_at as "createdAt",
  d.sent_at as "sentAt", d.done_at as "doneAt"`;

const list = listOf("deliveries", delivery, z.int().positive());

/** One queue's deliveries, the newest first. */
export const deliveriesRead = () =>
  read({
    path: "deliveries",
    tag: "queues",
    summary: "A queue's deliveries, the newest first",
    description: "Those that are done for longer than `RETENTION` are no longer listed.",
    query: z.strictObject({ ...list.query, queue: z.string().max(100), state: z.enum(STATES).optional() }),
    response: list.response,
    async handle({ sql, chainId, query }) {
      const { rows } = await sql.query<Delivery>(
        `select ${COLUMNS} from deliveries d join queues q using (chain_id, queue)
         where chain_id = $1 and queue = $2 and ($3::text is null or ${shownState()} = $3) and ($4::bigint is null or position < $4)
         order by position desc limit $5`,
        [chainId, query.queue, query.state ?? null, query.cursor ?? null, query.limit + 1],
      );
      return pageOf(rows, query.limit, row => row.position);
    },
  });

/** The deliveries that cover each of these events, in the order in which they were made. */
export async function deliveriesOf(sql: Sql, chainId: number, positions: readonly number[]): Promise<Map<number, Delivery[]>> {
  const { rows } = await sql.query<Delivery & { event: number }>(
    `select e.position as event, ${COLUMNS} from queues q cross join unnest($2::bigint[]) as e (position)
     join deliveries d on d.chain_id = q.chain_id and d.queue = q.queue
       and ${coversEvent("e.position")}
     where q.chain_id = $1 order by d.created_at, d.queue, d.position`,
    [chainId, positions],
  );
  return Map.groupBy(rows, ({ event }) => event);
}

/** The queues that these events were delivered to, once, by deliveries that are no longer kept: see `RETENTION`. */
export async function prunedQueuesOf(sql: Sql, chainId: number, positions: readonly number[]): Promise<string[]> {
  const { rows } = await sql.query<{ queue: string }>(
    `select distinct q.queue from events e join queues q using (chain_id)
     where e.chain_id = $1 and e.position = any($2) and ${isOnlyPruned("q.queue")} order by q.queue`,
    [chainId, positions],
  );
  return rows.map(({ queue }) => queue);
}
