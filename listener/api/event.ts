import { z } from "zod";
import type { App } from "../app.ts";
import type { Sql } from "../db.ts";
import { eventId, type ListedEvent } from "../journal/events.ts";
import { address, block, hash, typeNames } from "./schemas.ts";

export const EVENT_STATUSES = ["included", "finalized", "orphaned", "undecodable"] as const;
export type EventStatus = (typeof EVENT_STATUSES)[number];

/** An event as the API shows it. */
export const event = z.object({
  id: z.string().describe("{chainId}-{blockHash}-{logIndex}"),
  position: z.int().describe("its place in the journal"),
  contract: z.string(),
  address,
  name: z.string(),
  arguments: z
    .record(z.string(), z.unknown())
    .nullable()
    .describe("in the order of the declaration; integers as decimal strings; null where the log could not be decoded"),
  status: z.enum(EVENT_STATUSES),
  error: z.string().nullable().describe("why the log could not be decoded"),
  block,
  transactionHash: hash,
  logIndex: z.int(),
});
typeNames.add(event, { name: "Event" });
export type EventView = z.output<typeof event>;

/** A row of `events` as it is shown. `finalized`: the number of the last final block, -1 before there is one. */
export function showEvent(app: App, row: ListedEvent, finalized: number): EventView {
  return {
    id: eventId(row.chain_id, row.block_hash, row.log_index),
    position: row.position,
    contract: row.contract,
    address: row.address,
    name: row.name,
    // An event that the ABI has lost since is shown as it was stored.
    arguments: row.arguments && (app.decoderOf(row.contract, row.name)?.present(row.arguments) ?? row.arguments),
    status: statusOf(row, finalized),
    error: row.error,
    block: { number: row.block_number, hash: row.block_hash, timestamp: row.block_timestamp },
    transactionHash: row.transaction_hash,
    logIndex: row.log_index,
  };
}

function statusOf(row: ListedEvent, finalized: number): EventStatus {
  if (!row.live) return "orphaned";
  if (row.error !== null) return "undecodable";
  return row.block_number <= finalized ? "finalized" : "included";
}

/** The number of the last final block, -1 before there is one. */
export async function readFinalized(sql: Sql, chainId: number): Promise<number> {
  const { rows } = await sql.query<{ number: number | null }>("select finalized_number as number from checkpoint where chain_id = $1", [
    chainId,
  ]);
  return rows[0]?.number ?? -1;
}
