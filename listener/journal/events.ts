import type { App, JournalEvent } from "../app.ts";
import { type Arguments, argumentsToJson, type Decoded } from "../chain/events.ts";
import type { Hex, Log } from "../chain/types.ts";
import type { Sql } from "../db.ts";
import { RUN_COLUMNS, runsOf } from "./runs.ts";

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

/** What of an event is shown in lists and streams: all but the raw log, which costs as much to read as the rest. */
export type ListedEvent = Omit<EventRow, "topics" | "data" | "seen_at">;

export const LISTED_COLUMNS = `chain_id, position, block_number, block_hash, block_timestamp, transaction_hash, log_index,
  address, contract, name, arguments, error, live`;

/** SQL: how often the block of the event `e` has come so far: once, unless it was orphaned and came back. Those are few, and indexed. */
export const TIME = `1 + (select count(*) from events o where o.chain_id = e.chain_id and o.block_hash = e.block_hash
  and o.log_index = e.log_index and not o.live and o.position < e.position)`;

/** A decoded log on its way into the journal. */
export type ReadEvent = { log: Log; decoded: Decoded };

/** What a decoded log becomes in the journal. */
export type NewEvent = ReadEvent & { position: number };

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

/** What the rows of one update have in common. */
export type Writing = { chainId: number; epoch: number; seenAt: Date };

/** The columns that a new row is given, in their order. */
export const WRITTEN_COLUMNS = `position, chain_id, block_number, block_hash, block_timestamp, transaction_hash, transaction_index, log_index,
  address, contract, name, arguments, topics, data, error, ${RUN_COLUMNS}, seen_at, epoch`;

/** How many parameters `EVENT_ROWS` has. */
export const EVENT_VALUES = 19;

/**
 * SQL: stores events by an insert of arrays, as a step of a `with`, where `gate` is true; `p(n)` is its parameter n from 0 on, of
 * `eventValues`. Of few rows the turns of a COPY cost more than it saves.
 */
export const EVENT_ROWS = (gate: string, p: (n: number) => string) => `
  insert into events (${WRITTEN_COLUMNS})
  select position, $1, block_number, block_hash, block_timestamp, transaction_hash, transaction_index, log_index,
    address, contract, name, arguments::jsonb, topics::text[], data, error, ${RUN_COLUMNS}, ${p(14)}::timestamptz, ${p(15)}::bigint
  from unnest(${p(0)}::bigint[], ${p(1)}::bigint[], ${p(2)}::text[], ${p(3)}::bigint[], ${p(4)}::text[], ${p(5)}::int[], ${p(6)}::int[],
    ${p(7)}::text[], ${p(8)}::text[], ${p(9)}::text[], ${p(10)}::text[], ${p(11)}::text[], ${p(12)}::text[], ${p(13)}::text[],
    ${p(16)}::smallint[], ${p(17)}::smallint[], ${p(18)}::smallint[])
    as e (position, block_number, block_hash, block_timestamp, transaction_hash, transaction_index, log_index,
      address, contract, name, arguments, topics, data, error, ${RUN_COLUMNS}) where ${gate}`;

export const eventValues = (events: readonly NewEvent[], { epoch, seenAt }: Writing): unknown[] => [
  events.map(({ position }) => position),
  events.map(({ log }) => log.blockNumber),
  events.map(({ log }) => log.blockHash),
  events.map(({ log }) => log.blockTimestamp),
  events.map(({ log }) => log.transactionHash),
  events.map(({ log }) => log.transactionIndex),
  events.map(({ log }) => log.logIndex),
  events.map(({ log }) => log.address),
  events.map(({ decoded }) => decoded.contract),
  events.map(({ decoded }) => decoded.name),
  events.map(({ decoded }) => decoded.arguments && argumentsToJson(decoded.arguments)),
  events.map(({ log }) => `{${log.topics.join(",")}}`),
  events.map(({ log }) => log.data),
  events.map(({ decoded }) => decoded.error),
  seenAt,
  epoch,
  ...runsOf(events.map(({ log }) => log)).map(lengths => Array.from(lengths, length => length || null)),
];

/** What of the raw log a handler needs: nothing, where it was decoded. */
const DECODED_COLUMNS = EVENT_COLUMNS.replace(
  "topics, data",
  "case when arguments is null then topics end as topics, case when arguments is null then data end as data",
);

/**
 * Events by position, in the given order, as handlers need them: a decoded one without its raw log. Throws where the
 * journal lacks one: its deliveries cannot be right then.
 */
export const readEvents = (sql: Sql, chainId: number, positions: readonly number[]) =>
  readColumns<EventRow>(sql, chainId, positions, DECODED_COLUMNS);

/** An event with how often its block has come so far: once, unless it was orphaned and came back. */
export type Occurrence = EventRow & { time: number };

/** The same with their `time`, and with the raw log. */
export const readOccurrences = (sql: Sql, chainId: number, positions: readonly number[]) =>
  readColumns<Occurrence>(sql, chainId, positions, OCCURRENCE_COLUMNS);

/** What of an event `readOccurrences` reads. */
export const OCCURRENCE_COLUMNS = `${EVENT_COLUMNS}, ${TIME} as time`;

/** SQL: what `readEvents` reads, in no order; with other columns what they are. */
export const selectEvents = (chainId: number | string, positions: string, columns = DECODED_COLUMNS) =>
  `select ${columns} from events e where chain_id = ${chainId} and position = any(${positions})`;

async function readColumns<R extends EventRow>(sql: Sql, chainId: number, positions: readonly number[], columns: string): Promise<R[]> {
  const { rows } = await sql.query<R>(selectEvents("$1", "$2", columns), [chainId, positions]);
  return inOrder(rows, chainId, positions);
}

/** The events at these positions, in this order. Throws where one is missing. */
export function inOrder<R extends EventRow>(rows: readonly R[], chainId: number, positions: readonly number[]): R[] {
  const byPosition = new Map(rows.map(row => [row.position, row]));
  return positions.map(position => eventAt(byPosition, chainId, position));
}

/** The event at this position. Throws where it is missing. */
export function eventAt<R extends EventRow>(byPosition: ReadonlyMap<number, R>, chainId: number, position: number): R {
  const row = byPosition.get(position);
  if (!row) throw new Error(`the journal has no event ${position} of chain ${chainId}`);
  return row;
}
