import { z } from "zod";
import type { App } from "../app.ts";
import type { Sql } from "../db.ts";
import { LISTED_COLUMNS, type ListedEvent } from "../journal/events.ts";
import { eventsOfTransaction } from "../journal/runs.ts";
import { EVENT_STATUSES, type EventStatus, event, readFinalized, showEvent } from "./event.ts";
import { listOf, pageOf } from "./page.ts";
import { HttpProblem } from "./problem.ts";
import { read } from "./read.ts";
import { blockParameter, hash } from "./schemas.ts";

type Filter = {
  contract?: string | undefined;
  name?: string | undefined;
  status?: EventStatus | undefined;
  fromBlock?: number | undefined;
  toBlock?: number | undefined;
  transaction?: string | undefined;
};
type Page = { limit: number; cursor?: number | undefined };

/** Every event of the journal, the newest first. */
export function eventsRead(app: App) {
  const list = listOf("events", event, z.int().positive());
  return read({
    path: "events",
    tag: "events",
    summary: "Events, the newest first",
    description: "In the order of the journal. An event that a reorg took stays in the list as `orphaned`.",
    query: z.strictObject({
      ...list.query,
      contract: z.string().max(200).optional().describe("its name, such as SluiceToken"),
      name: z.string().max(200).optional().describe("the event's name, such as Transfer"),
      status: z.enum(EVENT_STATUSES).optional(),
      fromBlock: blockParameter.optional(),
      toBlock: blockParameter.optional(),
      transaction: hash.optional().describe("the hash of the transaction"),
    }),
    response: list.response,
    async handle({ sql, chainId, query }) {
      if (query.fromBlock !== undefined && query.toBlock !== undefined && query.fromBlock > query.toBlock) {
        throw new HttpProblem(400, `fromBlock ${query.fromBlock} is above toBlock ${query.toBlock}`);
      }
      const finalized = await readFinalized(sql, chainId);
      const rows = await findEvents(sql, { chainId, app, finalized, filter: query, page: query });
      const { items, nextCursor } = pageOf(rows, query.limit, row => row.position);
      return { items: items.map(row => showEvent(app, row, finalized)), nextCursor };
    },
  });
}

/** The rows of a page, and one more where there is one. */
async function findEvents(
  sql: Sql,
  { chainId, app, finalized, filter, page }: { chainId: number; app: App; finalized: number; filter: Filter; page: Page },
): Promise<ListedEvent[]> {
  const values: unknown[] = [chainId, page.limit + 1];
  const conditions = ["chain_id = $1"];
  const parameter = (value: unknown) => `$${values.push(value)}`;
  const where = (condition: (value: string) => string, value: unknown) => void conditions.push(condition(parameter(value)));

  let [source, order] = ["events", "position desc"];
  let isOneContract = filter.contract !== undefined;
  if (page.cursor !== undefined) where(value => `position < ${value}`, page.cursor);
  if (filter.contract !== undefined) where(value => `contract = ${value}`, filter.contract);
  if (filter.name !== undefined) {
    where(value => `name = ${value}`, filter.name);
    const owners = [...app.contracts].filter(([, decoders]) => decoders.some(({ name }) => name === filter.name));
    if (filter.contract === undefined && owners.length === 1) where(value => `contract = ${value}`, owners[0]![0]);
    isOneContract ||= owners.length === 1;
  }
  if (isOneContract) {
    // With the name known as well, the rows come in order out of `events_by_name`.
    [source, order] = ["named_events", "run desc, position desc"];
    if (page.cursor !== undefined) where(value => `run < ${value}`, page.cursor);
  }
  if (filter.transaction !== undefined) {
    where(value => `transaction_hash = ${value}`, filter.transaction);
    source = eventsOfTransaction("$1", parameter(filter.transaction));
    order = "position desc";
  }
  if (filter.fromBlock !== undefined) where(value => `block_number >= ${value}`, filter.fromBlock);
  if (filter.toBlock !== undefined) {
    where(value => `block_number <= ${value}`, filter.toBlock);
    const end = await firstLiveAbove(sql, chainId, filter.toBlock);
    if (end !== undefined) where(value => `position < ${value}`, end);
  }
  if (filter.status === "orphaned") conditions.push("not live");
  if (filter.status === "undecodable") conditions.push("live and error is not null");
  if (filter.status === "finalized" || filter.status === "included") {
    conditions.push("live and error is null");
    const open = await firstLiveAbove(sql, chainId, finalized);
    if (open === undefined && filter.status === "included") return [];
    if (open !== undefined) where(value => `position ${filter.status === "included" ? ">=" : "<"} ${value}`, open);
  }
  const { rows } = await sql.query<ListedEvent>(
    `select ${LISTED_COLUMNS} from ${source} e where ${conditions.join(" and ")} order by ${order} limit $2`,
    values,
  );
  return rows;
}

/**
 * The position of the first live event above a block. Live events are in the order of the chain, and whatever came after
 * one that is still live was built upon it: so no event of that block or below has a later position.
 */
export async function firstLiveAbove(sql: Sql, chainId: number, block: number): Promise<number | undefined> {
  const { rows } = await sql.query<{ position: number }>(
    `select position from events where chain_id = $1 and block_number > $2 and live order by block_number, log_index limit 1`,
    [chainId, block],
  );
  return rows[0]?.position;
}
