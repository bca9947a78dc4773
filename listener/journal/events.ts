import type { App, JournalEvent } from "../app.ts";
import { type Arguments, argumentsToJson, type Decoded } from "../chain/events.ts";
import type { Hex, Log } from "../chain/types.ts";
import type { Sql, Tx } from "../db.ts";

/** A row of the table `events`, as the columns of `EVENT_COLUMNS` give it. */
export type EventRow = {
  chain_id: number;
  position: number;
  block_number: number;
  block_hash: Hex;
  block_timestamp: number;
  transaction_hash: Hex;
  log_index: number;
  address: Hex;
  contract: string;
  name: string;
  arguments: Record<string, unknown> | null;
  topics: Hex[];
  data: Hex;
  error: string | null;
  live: boolean;
  seen_at: Date;
};

export const EVENT_COLUMNS = `chain_id, position, block_number, block_hash, block_timestamp, transaction_hash, log_index,
  address, contract, name, arguments, topics, data, error, live, seen_at`;

/** What a decoded log becomes in the journal. */
export type NewEvent = { position: number; log: Log; decoded: Decoded };

/** The name of an event to the outside: the same log in another block is another event. */
export const eventId = (chainId: number, blockHash: Hex, logIndex: number) => `${chainId}-${blockHash}-${logIndex}`;

/** An event as handlers see it. A log that could not be decoded when it came is decoded again, for its ABI may be right by now. */
export function toJournalEvent(app: App, row: EventRow): JournalEvent {
  const decoder = app.decoderOf(row.contract, row.name);
  if (!decoder) throw new Error(`no contract of this application has an event ${row.contract}.${row.name}`);
  return {
    id: eventId(row.chain_id, row.block_hash, row.log_index),
    chainId: row.chain_id,
    position: row.position,
    contract: row.contract,
    address: row.address,
    event: `${row.contract}.${row.name}`,
    arguments: row.arguments ? decoder.revive(row.arguments) : decoder.decode(row.topics, row.data),
    block: { number: row.block_number, hash: row.block_hash, timestamp: row.block_timestamp },
    transactionHash: row.transaction_hash,
    logIndex: row.log_index,
  };
}

/** The same for an event that is just being recorded. */
export function newJournalEvent(chainId: number, { position, log, decoded }: NewEvent): JournalEvent {
  return {
    id: eventId(chainId, log.blockHash, log.logIndex),
    chainId,
    position,
    contract: decoded.contract,
    address: log.address,
    event: `${decoded.contract}.${decoded.name}`,
    arguments: decoded.arguments ?? ({} as Arguments),
    block: { number: log.blockNumber, hash: log.blockHash, timestamp: log.blockTimestamp! },
    transactionHash: log.transactionHash,
    logIndex: log.logIndex,
  };
}

export async function insertEvents(tx: Tx, chainId: number, events: readonly NewEvent[], seenAt: Date): Promise<void> {
  if (events.length === 0) return;
  await tx.query(
    `insert into events (chain_id, position, block_number, block_hash, block_timestamp, transaction_hash, transaction_index,
       log_index, address, contract, name, arguments, topics, data, error, seen_at)
     select $1, position, block_number, block_hash, block_timestamp, transaction_hash, transaction_index,
       log_index, address, contract, name, arguments::jsonb, string_to_array(topics, ','), data, error, $2
     from unnest($3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::text[], $8::int[], $9::int[], $10::text[],
       $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[])
       as e (position, block_number, block_hash, block_timestamp, transaction_hash, transaction_index, log_index, address,
         contract, name, arguments, topics, data, error)`,
    [
      chainId,
      seenAt,
      events.map(e => e.position),
      events.map(e => e.log.blockNumber),
      events.map(e => e.log.blockHash),
      events.map(e => e.log.blockTimestamp),
      events.map(e => e.log.transactionHash),
      events.map(e => e.log.transactionIndex),
      events.map(e => e.log.logIndex),
      events.map(e => e.log.address),
      events.map(e => e.decoded.contract),
      events.map(e => e.decoded.name),
      events.map(e => (e.decoded.arguments ? argumentsToJson(e.decoded.arguments) : null)),
      events.map(e => e.log.topics.join(",")),
      events.map(e => e.log.data),
      events.map(e => e.decoded.error ?? null),
    ],
  );
}

/** Events by position, in the given order. Throws where the journal lacks one: its deliveries cannot be right then. */
export async function readEvents(sql: Sql, chainId: number, positions: readonly number[]): Promise<EventRow[]> {
  const { rows } = await sql.query<EventRow>(`select ${EVENT_COLUMNS} from events where chain_id = $1 and position = any($2)`, [
    chainId,
    positions,
  ]);
  const byPosition = new Map(rows.map(row => [row.position, row]));
  return positions.map(position => {
    const row = byPosition.get(position);
    if (!row) throw new Error(`the journal has no event ${position} of chain ${chainId}`);
    return row;
  });
}
