import { z } from "zod";
import type { App } from "../app.ts";
import type { Sql } from "../db.ts";
import { MAX_SPREAD, type Operation } from "../journal/deliveries.ts";
import { EVENT_COLUMNS, type EventRow } from "../journal/events.ts";
import { event, readFinalized, showEvent } from "./event.ts";
import { read } from "./read.ts";
import { time } from "./schemas.ts";

const EVENT_ID = /^(\d{1,15})-(0x[0-9a-fA-F]{64})-(\d{1,9})$/;

const eventIdParameter = z
  .string()
  .regex(EVENT_ID, "expected an event's id: {chainId}-{blockHash}-{logIndex}")
  .describe("{chainId}-{blockHash}-{logIndex}");

const delivery = z.object({
  queue: z.string(),
  position: z.int().describe("its place in the queue"),
  operation: z.enum(["apply", "revert", "run", "replay"]),
  state: z.enum(["pending", "sent", "done", "dead"]),
  attempts: z.int(),
  lastError: z.string().nullable(),
  createdAt: time,
  sentAt: time.nullable(),
  doneAt: time.nullable(),
});
type Delivery = z.output<typeof delivery>;

/** An event with the raw log and everything that became of it. */
export const eventTraceRead = (app: App) =>
  read({
    path: "events/:id",
    tag: "events",
    summary: "An event and each delivery of it",
    description:
      "The same log in another block is another event. A block that a reorg took and brought back has its events twice in the journal: " +
      "then the one that counts is shown, with the deliveries of both.",
    params: z.object({ id: eventIdParameter }),
    response: event.extend({
      topics: z.array(z.string()),
      data: z.string(),
      seenAt: time.describe("when the listener had the log"),
      deliveries: z.array(delivery),
    }),
    async handle({ sql, chainId, params }) {
      const [, chain, blockHash, logIndex] = EVENT_ID.exec(params.id)!;
      if (Number(chain) !== chainId) return undefined;
      const rows = await findById(sql, chainId, blockHash!.toLowerCase(), Number(logIndex));
      const row = rows[0];
      if (!row) return undefined;
      return {
        ...showEvent(app, row, await readFinalized(sql, chainId)),
        topics: row.topics,
        data: row.data,
        seenAt: row.seen_at,
        deliveries: await deliveriesOf(
          sql,
          chainId,
          rows.map(({ position }) => position),
        ),
      };
    },
  });

/** All rows of an id: the live one first, then the newest. */
async function findById(sql: Sql, chainId: number, blockHash: string, logIndex: number): Promise<EventRow[]> {
  // The block's number is not in the id. A live row is found by hash through `events_live`; of an orphan the rest of the
  // statement finds the number in `events_orphaned`.
  const { rows } = await sql.query<EventRow>(
    `(select ${EVENT_COLUMNS} from events where chain_id = $1 and block_hash = $2 and log_index = $3 and live)
     union all
     (select ${EVENT_COLUMNS} from events where chain_id = $1 and block_hash = $2 and log_index = $3 and not live)
     order by live desc, position desc`,
    [chainId, blockHash, logIndex],
  );
  return rows;
}

/** The deliveries that cover these events, in the order in which they were made. */
async function deliveriesOf(sql: Sql, chainId: number, positions: readonly number[]): Promise<Delivery[]> {
  const { rows } = await sql.query<Delivery & { operation: Operation }>(
    `select distinct on (d.created_at, d.queue, d.position) d.queue, d.position, d.operation, d.state, d.attempts,
       d.last_error as "lastError", d.created_at as "createdAt", d.sent_at as "sentAt", d.done_at as "doneAt"
     from queues q cross join unnest($2::bigint[]) as e (position)
     join deliveries d on d.chain_id = q.chain_id and d.queue = q.queue
       and d.last_event between e.position and e.position + ${MAX_SPREAD} and d.first_event <= e.position and e.position = any(d.events)
     where q.chain_id = $1 order by d.created_at, d.queue, d.position`,
    [chainId, positions],
  );
  return rows;
}
