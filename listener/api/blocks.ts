import { z } from "zod";
import type { App } from "../app.ts";
import type { Sql } from "../db.ts";
import { LISTED_COLUMNS, type ListedEvent } from "../journal/events.ts";
import { event, showEvent } from "./event.ts";
import { listOf, MAX_LIMIT, pageOf } from "./page.ts";
import { read } from "./read.ts";
import { blockNumber, blockParameter, count, hash } from "./schemas.ts";

const blockView = z.object({
  number: blockNumber,
  hash: hash.nullable().describe("null where the block is final and has no event of ours: its header is not kept"),
  parentHash: hash.nullable().describe("kept from the finalized block to the tip"),
  timestamp: z.int().nullable().describe("seconds since 1970"),
  status: z.enum(["included", "finalized"]),
  eventCount: count,
  events: z.array(event).describe(`the first ${MAX_LIMIT} in order; all of them are in events?fromBlock={number}&toBlock={number}`),
});

const keptBlock = z.object({
  number: blockNumber,
  hash,
  parentHash: hash,
  timestamp: z.int().describe("seconds since 1970"),
  status: z.enum(["included", "finalized"]),
  eventCount: count,
});
const list = listOf("blocks", keptBlock, blockNumber);

/** The blocks that a reorg may still take, and the final one below them. */
export const blocksRead = () =>
  read({
    path: "blocks",
    tag: "blocks",
    summary: "The newest blocks, the newest first",
    description:
      "From the tip down to the last final block: headers below that are not kept. Each of those is still at `blocks/{number}`, with its events.",
    query: z.strictObject(list.query),
    response: list.response,
    async handle({ sql, chainId, query }) {
      const { rows } = await sql.query<z.output<typeof keptBlock>>(
        `select b.number, b.hash, b.parent_hash as "parentHash", b.timestamp,
           case when b.number <= coalesce(c.finalized_number, -1) then 'finalized' else 'included' end as status,
           (select count(*) from events e where e.chain_id = b.chain_id and e.block_number = b.number and e.live) as "eventCount"
         from blocks b join checkpoint c using (chain_id)
         where b.chain_id = $1 and ($2::bigint is null or b.number < $2) order by b.number desc limit $3`,
        [chainId, query.cursor ?? null, query.limit + 1],
      );
      return pageOf(rows, query.limit, row => row.number);
    },
  });

type Checkpoint = { start: number; tip: number | null; finalized: number | null };

/** A canonical block, as far as the journal holds it. */
export const blockRead = (app: App) =>
  read({
    path: "blocks/:number",
    tag: "blocks",
    summary: "A block and its events",
    params: z.object({ number: blockParameter }),
    response: blockView,
    async handle({ sql, chainId, params: { number } }) {
      const { rows: checkpoints } = await sql.query<Checkpoint>(
        "select start_block as start, tip_number as tip, finalized_number as finalized from checkpoint where chain_id = $1",
        [chainId],
      );
      const checkpoint = checkpoints[0];
      if (!checkpoint || checkpoint.tip === null || number < checkpoint.start || number > checkpoint.tip) return undefined;
      const finalized = checkpoint.finalized ?? -1;
      const header = await readHeader(sql, chainId, number);
      const { count, rows } = await readEventsOf(sql, chainId, number);
      return {
        number,
        hash: header?.hash ?? rows[0]?.block_hash ?? null,
        parentHash: header?.parent_hash ?? null,
        timestamp: header?.timestamp ?? rows[0]?.block_timestamp ?? null,
        status: number <= finalized ? ("finalized" as const) : ("included" as const),
        eventCount: count,
        events: rows.map(row => showEvent(app, row, finalized)),
      };
    },
  });

async function readHeader(sql: Sql, chainId: number, number: number) {
  const { rows } = await sql.query<{ hash: string; parent_hash: string; timestamp: number }>(
    "select hash, parent_hash, timestamp from blocks where chain_id = $1 and number = $2",
    [chainId, number],
  );
  return rows[0];
}

async function readEventsOf(sql: Sql, chainId: number, number: number): Promise<{ count: number; rows: ListedEvent[] }> {
  const { rows: counts } = await sql.query<{ count: number }>(
    "select count(*) from events where chain_id = $1 and block_number = $2 and live",
    [chainId, number],
  );
  const { rows } = await sql.query<ListedEvent>(
    `select ${LISTED_COLUMNS} from events where chain_id = $1 and block_number = $2 and live order by log_index limit $3`,
    [chainId, number, MAX_LIMIT],
  );
  return { count: counts[0]!.count, rows };
}
