import type { App } from "../app.ts";
import type { Sql } from "../db.ts";
import { type EventRow, readEvents } from "../journal/events.ts";
import type { Endpoint } from "./endpoints.ts";
import { type MessageOperation, toBody } from "./payload.ts";

/** A message that waits for its turn. */
export type Pending = {
  sequence: number;
  id: string;
  operation: MessageOperation;
  events: number[];
  keys: string[];
  attempts: number;
  due: boolean;
  /** Milliseconds since its first attempt; null before it. */
  age: number | null;
  created_at: Date;
};

const COLUMNS = `sequence, id, operation, events, keys, attempts, next_at <= now() as due,
  extract(epoch from now() - first_at)::float8 * 1000 as age, created_at`;

/** Messages that one look takes up, and looks that it may take to get past lanes which are parked. */
const LOOK = 500;
const MAX_LOOKS = 20;

/** A message that may be sent now, and those of the same look that have to be delivered before it. */
export type Runnable = Pending & { after: Runnable[] };

/**
 * The messages that may be sent now, in order.
 *
 * - With order per account, a message that is not due holds back those that share an account with it, and these in turn others.
 * - Without order everything that is due, except where reorgs are told: `reverted` waits for all before it, and what
 *   follows waits for it, so that a receiver sees an event, its end, and what came in its place.
 */
export async function readRunnable(sql: Sql, chainId: number, endpoint: Pick<Endpoint, "id" | "ordered">): Promise<Runnable[]> {
  if (!endpoint.ordered) {
    const due = await readPending(sql, chainId, endpoint.id, { after: 0, onlyDue: true });
    // Looked for after the read: a `reverted` that came in between must not go out beside what was read.
    if (due.length === 0 || !(await hasReverted(sql, chainId, endpoint.id))) return due.map(row => ({ ...row, after: [] }));
  }
  const lanes = endpoint.ordered ? accountLanes() : operationLanes();
  const runnable: Runnable[] = [];
  let after = 0;
  for (let looks = 0; looks < MAX_LOOKS && runnable.length === 0; looks++) {
    const rows = await readPending(sql, chainId, endpoint.id, { after, onlyDue: false });
    for (const row of rows) {
      const before = lanes.enter(row);
      if (before) runnable.push(before);
    }
    if (rows.length < LOOK) break;
    after = rows.at(-1)!.sequence;
  }
  return runnable;
}

/**
 * The message that an open breaker lets through alone: a test that somebody asked for, or else the one that stands first, due
 * or not.
 */
export async function readFirst(sql: Sql, chainId: number, id: string): Promise<Runnable | undefined> {
  const { rows: tests } = await sql.query<Pending>(
    `select ${COLUMNS} from webhook_messages
     where chain_id = $1 and endpoint = $2 and state = 'pending' and operation = 'test' and next_at <= now() order by sequence limit 1`,
    [chainId, id],
  );
  if (tests[0]) return { ...tests[0], after: [] };
  const [first] = await readPending(sql, chainId, id, { after: 0, onlyDue: false, limit: 1 });
  return first && { ...first, after: [] };
}

async function hasReverted(sql: Sql, chainId: number, id: string): Promise<boolean> {
  const { rowCount } = await sql.query(
    "select from webhook_messages where chain_id = $1 and endpoint = $2 and state = 'pending' and operation = 'reverted' limit 1",
    [chainId, id],
  );
  return rowCount === 1;
}

async function readPending(
  sql: Sql,
  chainId: number,
  id: string,
  { after, onlyDue, limit = LOOK }: { after: number; onlyDue: boolean; limit?: number },
): Promise<Pending[]> {
  const { rows } = await sql.query<Pending>(
    `select ${COLUMNS} from webhook_messages where chain_id = $1 and endpoint = $2 and state = 'pending' and sequence > $3
     ${onlyDue ? "and next_at <= now()" : ""} order by sequence limit $4`,
    [chainId, id, after, limit],
  );
  return rows;
}

type Lanes = { enter(row: Pending): Runnable | undefined };

/** One lane per account; a message is in those of all its accounts. A test is in none. */
export function accountLanes(): Lanes {
  const parked = new Set<string>();
  const last = new Map<string, Runnable>();
  return {
    enter(row) {
      if (!row.due || row.keys.some(key => parked.has(key))) {
        for (const key of row.keys) parked.add(key);
        return undefined;
      }
      const runnable = { ...row, after: [...new Set(row.keys.flatMap(key => last.get(key) ?? []))] };
      for (const key of row.keys) last.set(key, runnable);
      return runnable;
    },
  };
}

/** Events are free among themselves, and so are reverts; each change from the one to the other waits for all before it. */
export function operationLanes(): Lanes {
  let operation: MessageOperation | undefined;
  let [before, current]: [Runnable[], Runnable[]] = [[], []];
  // What is not due holds back everything from the next change on.
  let [parkedHere, parkedBefore] = [false, false];
  return {
    enter(row) {
      if (row.operation === "test") return row.due ? { ...row, after: [] } : undefined;
      if (operation !== undefined && row.operation !== operation) {
        [before, current] = [current, []];
        parkedBefore ||= parkedHere;
      }
      operation = row.operation;
      parkedHere ||= !row.due;
      if (!row.due || parkedBefore) return undefined;
      const runnable = { ...row, after: before };
      current.push(runnable);
      return runnable;
    },
  };
}

/** The bodies of these messages, by sequence. */
export async function readBodies(
  sql: Sql,
  app: App,
  chainId: number,
  endpoint: Endpoint,
  messages: readonly Pending[],
): Promise<Map<number, string>> {
  const positions = [...new Set(messages.flatMap(({ events }) => events))];
  const rows = new Map<number, EventRow>((await readEvents(sql, chainId, positions)).map(row => [row.position, row]));
  return new Map(
    messages.map(({ sequence, operation, events, created_at }) => {
      const message = {
        endpoint: endpoint.id,
        sequence,
        operation,
        createdAt: created_at,
        batched: endpoint.batch > 1 || events.length > 1,
      };
      return [
        sequence,
        toBody(
          app,
          message,
          events.map(position => rows.get(position)!),
        ),
      ];
    }),
  );
}
