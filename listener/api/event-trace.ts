import { z } from "zod";
import type { App } from "../app.ts";
import type { Sql } from "../db.ts";
import { EVENT_COLUMNS, type EventRow } from "../journal/events.ts";
import { liveEventOf } from "../journal/runs.ts";
import { readMessagesOf } from "../webhooks/read.ts";
import { type Delivery, deliveriesOf, delivery, prunedQueuesOf } from "./deliveries.ts";
import { event, readFinalized, showEvent } from "./event.ts";
import { read } from "./read.ts";
import { time, typeNames } from "./schemas.ts";
import { message } from "./webhook-schemas.ts";

const EVENT_ID = /^(\d{1,15})-(0x[0-9a-fA-F]{64})-(\d{1,9})$/;

const eventIdParameter = z
  .string()
  .regex(EVENT_ID, "expected an event's id: {chainId}-{blockHash}-{logIndex}")
  .describe("{chainId}-{blockHash}-{logIndex}");

export const told = message.extend({ endpoint: z.string().describe("its id"), url: z.string() });
typeNames.add(told, { name: "ToldWebhook" });

export const eventTrace = event.extend({
  topics: z.array(z.string()),
  data: z.string(),
  seenAt: time.describe("when the listener had the log"),
  deliveries: z.array(delivery),
  pruned: z.array(z.string()).describe("queues that it was delivered to, once, so long ago that this delivery is no longer kept"),
  webhooks: z.array(told).describe("messages that tell of it or of its end, in the order in which they were made; the first 200"),
});
typeNames.add(eventTrace, { name: "EventTrace" });

/** An event with the raw log and everything that became of it. */
export const eventTraceRead = (app: App) =>
  read({
    path: "events/:id",
    tag: "events",
    summary: "An event, each delivery of it, and which webhooks were told",
    description:
      "The same log in another block is another event. A block that a reorg took and brought back has its events twice in the journal: " +
      "then the one that counts is shown, with the deliveries of both.",
    params: z.object({ id: eventIdParameter }),
    response: eventTrace,
    async handle({ sql, chainId, params }) {
      const [, chain, blockHash, logIndex] = EVENT_ID.exec(params.id)!;
      if (Number(chain) !== chainId) return undefined;
      const rows = await findById(sql, chainId, blockHash!.toLowerCase(), Number(logIndex));
      const row = rows[0];
      if (!row) return undefined;
      const positions = rows.map(({ position }) => position);
      const deliveries = await deliveriesOf(sql, chainId, positions);
      return {
        ...showEvent(app, row, await readFinalized(sql, chainId)),
        topics: row.topics,
        data: row.data,
        seenAt: row.seen_at,
        deliveries: distinct([...deliveries.values()].flat()),
        pruned: await prunedQueuesOf(sql, chainId, positions),
        webhooks: await readMessagesOf(sql, chainId, positions),
      };
    },
  });

/** All rows of an id: the live one first, then the newest. */
async function findById(sql: Sql, chainId: number, blockHash: string, logIndex: number): Promise<EventRow[]> {
  // A live row is found through `events_live`, an orphan by the rest of the statement through `events_orphaned`.
  const { rows } = await sql.query<EventRow>(
    `(select ${EVENT_COLUMNS} from ${liveEventOf("$1", "$2", "$3")} e)
     union all
     (select ${EVENT_COLUMNS} from events where chain_id = $1 and block_hash = $2 and log_index = $3 and not live)
     order by live desc, position desc`,
    [chainId, blockHash, logIndex],
  );
  return rows;
}

/** A delivery that covers both rows of an event is one. In the order in which they were made. */
function distinct(deliveries: readonly Delivery[]): Delivery[] {
  const unique = new Map(deliveries.map(one => [`${one.queue} ${one.position}`, one]));
  const order = (one: Delivery) => one.createdAt.getTime();
  return [...unique.values()].sort((a, b) => order(a) - order(b) || a.queue.localeCompare(b.queue) || a.position - b.position);
}
