import type { Sql } from "../db.ts";
import { coversEvent } from "../journal/deliveries.ts";
import { ENDPOINT_COLUMNS, type Endpoint, type EndpointRow, type EndpointState, toEndpoint } from "./endpoints.ts";

/** An endpoint with how it is doing. `breaker`: while it is open, one message is tried at `probeAt`. */
export type EndpointStatus = Endpoint & {
  /** The last place of the journal that it has been told of, or that it did not want. */
  position: number;
  /** Of the last message. */
  sequence: number;
  breaker: { state: "closed" | "open"; failures: number; probeAt: Date | null };
  counts: { pending: number; dead: number; delivered: number; failed: number };
  lastAttempt: { at: Date; duration: number; status: number | null; error: string | null } | null;
  oldestPending: Date | null;
};

type Row = EndpointRow & {
  position: number;
  sequence: number;
  failures: number;
  probe_at: Date | null;
  delivered: number;
  attempts_failed: number;
  pending: number;
  dead: number;
  oldest: Date | null;
  last_at: Date | null;
  last_duration: number;
  last_status: number | null;
  last_error: string | null;
};

/** Every endpoint of a chain, or the one with this id; the newest first. */
export async function readEndpoints(sql: Sql, chainId: number, id?: string): Promise<EndpointStatus[]> {
  const { rows } = await sql.query<Row>(
    `select ${ENDPOINT_COLUMNS}, c.position, c.sequence, t.failures, t.probe_at, t.delivered, t.failed as attempts_failed,
       p.pending, p.oldest, d.dead, a.at as last_at, a.duration as last_duration, a.status as last_status, a.error as last_error
     from webhooks w
     join webhook_cursors c on c.chain_id = w.chain_id and c.endpoint = w.id
     join webhook_turns t on t.chain_id = w.chain_id and t.endpoint = w.id
     cross join lateral (select count(*) as pending, min(created_at) as oldest from webhook_messages m
       where m.chain_id = w.chain_id and m.endpoint = w.id and m.state = 'pending') p
     cross join lateral (select count(*) as dead from webhook_messages m
       where m.chain_id = w.chain_id and m.endpoint = w.id and m.state = 'dead') d
     left join lateral (select * from webhook_attempts a where a.chain_id = w.chain_id and a.endpoint = w.id
       order by a.number desc limit 1) a on true
     where w.chain_id = $1 and ($2::text is null or w.id = $2) order by w.created_at desc, w.id`,
    [chainId, id ?? null],
  );
  return rows.map(row => ({
    ...toEndpoint(row),
    position: row.position,
    sequence: row.sequence,
    breaker: { state: row.probe_at === null ? "closed" : "open", failures: row.failures, probeAt: row.probe_at },
    counts: { pending: row.pending, dead: row.dead, delivered: row.delivered, failed: row.attempts_failed },
    lastAttempt: row.last_at && { at: row.last_at, duration: row.last_duration, status: row.last_status, error: row.last_error },
    oldestPending: row.oldest,
  }));
}

export type Message = {
  sequence: number;
  id: string;
  operation: "event" | "reverted" | "test";
  state: "pending" | "done" | "dead";
  attempts: number;
  nextAt: Date | null;
  status: number | null;
  error: string | null;
  createdAt: Date;
  doneAt: Date | null;
};

const MESSAGE_COLUMNS = `m.sequence, m.id, m.operation, m.state, m.attempts, case when m.state = 'pending' then m.next_at end as "nextAt",
  m.status, m.error, m.created_at as "createdAt", m.done_at as "doneAt"`;

/** Messages of an endpoint, the newest first, below the sequence `before`. */
export async function readMessages(
  sql: Sql,
  chainId: number,
  endpoint: string,
  { before, limit, state }: { before: number; limit: number; state?: string | undefined },
): Promise<Message[]> {
  const { rows } = await sql.query<Message>(
    `select ${MESSAGE_COLUMNS}
     from webhook_messages m where chain_id = $1 and endpoint = $2 and sequence < $3 and ($4::text is null or state = $4)
     order by sequence desc limit $5`,
    [chainId, endpoint, before, state ?? null, limit],
  );
  return rows;
}

/** A message with whom it is for. */
export type SentMessage = Message & { endpoint: string; url: string };

/** What endpoints were told, or will be, of the events at these positions: in the order in which it was decided, 200 at most. */
export async function readMessagesOf(sql: Sql, chainId: number, positions: readonly number[]): Promise<SentMessage[]> {
  const { rows } = await sql.query<SentMessage>(
    `select * from (
       select distinct on (m.endpoint, m.sequence) m.endpoint, w.url, ${MESSAGE_COLUMNS}
       from webhooks w cross join unnest($2::bigint[]) as e (position) join webhook_messages m
         on m.chain_id = w.chain_id and m.endpoint = w.id and m.operation <> 'test'
           and ${coversEvent("e.position", "m")}
       where w.chain_id = $1 order by m.endpoint, m.sequence limit 200
     ) told order by "createdAt", endpoint, sequence`,
    [chainId, positions],
  );
  return rows;
}

export type AttemptRow = {
  number: number;
  sequence: number;
  attempt: number;
  at: Date;
  duration: number;
  status: number | null;
  error: string | null;
  answer: string | null;
};

/** Attempts of an endpoint, or of one of its messages, the newest first, below the number `before`. */
export async function readAttempts(
  sql: Sql,
  chainId: number,
  endpoint: string,
  { before, limit, sequence }: { before: number; limit: number; sequence?: number | undefined },
): Promise<AttemptRow[]> {
  const { rows } = await sql.query<AttemptRow>(
    `select number, sequence, attempt, at, duration, status, error, answer from webhook_attempts
     where chain_id = $1 and endpoint = $2 and number < $3 and ($4::bigint is null or sequence = $4) order by number desc limit $5`,
    [chainId, endpoint, before, sequence ?? null, limit],
  );
  return rows;
}

export type EndpointCounts = {
  id: string;
  state: EndpointState;
  open: boolean;
  pending: number;
  dead: number;
  delivered: number;
  failed: number;
};

/** What the metrics show of each endpoint. */
export async function readCounts(sql: Sql, chainId: number): Promise<EndpointCounts[]> {
  const { rows } = await sql.query<EndpointCounts>(
    `select w.id, w.state, t.probe_at is not null as open, t.delivered, t.failed,
       (select count(*) from webhook_messages m where m.chain_id = w.chain_id and m.endpoint = w.id and m.state = 'pending') as pending,
       (select count(*) from webhook_messages m where m.chain_id = w.chain_id and m.endpoint = w.id and m.state = 'dead') as dead
     from webhooks w join webhook_turns t on t.chain_id = w.chain_id and t.endpoint = w.id where w.chain_id = $1`,
    [chainId],
  );
  return rows;
}
