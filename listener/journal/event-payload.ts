import type { App } from "../app.ts";
import { checksumAddress } from "../chain/address.ts";
import { argumentsToJson } from "../chain/events.ts";
import { type EventRow, eventId, toJournalEvent } from "./events.ts";

/** An event as receivers and workers elsewhere see it: integers are decimal strings, addresses have their checksum, times are in seconds. */
export type EventPayload = {
  id: string;
  chainId: number;
  contract: string;
  address: string;
  name: string;
  arguments: Record<string, unknown>;
  block: { number: number; hash: string; timestamp: number };
  transactionHash: string;
  logIndex: number;
};

/** @throws where the log cannot be decoded. One that could not be when it came is tried again: its ABI may be right by now. */
export function toEventPayload(app: App, row: EventRow): EventPayload {
  const given = row.arguments ?? JSON.parse(argumentsToJson(toJournalEvent(app, row).arguments));
  return {
    id: eventId(row.chain_id, row.block_hash, row.log_index),
    chainId: row.chain_id,
    contract: row.contract,
    address: checksumAddress(row.address),
    name: row.name,
    arguments: app.decoderOf(row.contract, row.name)?.present(given) ?? given,
    block: { number: row.block_number, hash: row.block_hash, timestamp: row.block_timestamp },
    transactionHash: row.transaction_hash,
    logIndex: row.log_index,
  };
}
