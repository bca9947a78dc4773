import pg from "pg";
import { describe, SluiceError } from "./errors.ts";
import { createOutage, type Log } from "./log.ts";

/** A pool or a single connection: whatever can run a statement. */
export type Sql = Pick<pg.Pool, "query"> | Pick<pg.ClientBase, "query">;
/** One connection inside a transaction. */
export type Tx = pg.ClientBase;
export type Db = pg.Pool;

/** The Postgres schema that holds our tables; BullMQ's own live in `bullmq`. */
export const SCHEMA = "sluice";

const INT8 = 20;
const INT8_ARRAY = 1016;
const NUMERIC = 1700;
const TIMESTAMPTZ = 1184;

const parseTime: (text: string) => Date = pg.types.getTypeParser(TIMESTAMPTZ);
let lastTime = { text: "", time: new Date(0) };
/** Events that came together were seen at the same time: one of them is parsed. */
function readTime(text: string): Date {
  if (text !== lastTime.text) lastTime = { text, time: parseTime(text) };
  return lastTime.time;
}

const types: pg.CustomTypesConfig = {
  // Block numbers, positions and counts stay far below 2^53; a numeric is an amount of a token and does not.
  getTypeParser: ((oid: number, format?: "text" | "binary") => {
    if (oid === INT8) return Number;
    if (oid === INT8_ARRAY) return (text: string) => (text === "{}" ? [] : text.slice(1, -1).split(",").map(Number));
    if (oid === TIMESTAMPTZ) return readTime;
    if (oid === NUMERIC) return (text: string) => (text.includes(".") ? Number(text) : BigInt(text));
    return pg.types.getTypeParser(oid, format);
  }) as typeof pg.types.getTypeParser,
};

/** How long a statement waits for a connection, new or out of the pool (ms). */
export const CONNECTING = 10_000;
/** How long a connection says nothing before the system asks whether the other end is still there (ms). */
export const KEEP_ALIVE = 10_000;

/**
 * A pool on `url` whose connections see our schema first. A connection that breaks is replaced without a word.
 *
 * @param options `pipeline`: statements are sent without waiting for the answers of those before. Not for COPY.
 *   `prepare`: false where a statement's name means nothing to the next transaction, as with an older PgBouncer
 */
export function openDb(url: string, options: { max?: number; name?: string; pipeline?: boolean; prepare?: boolean } = {}): Db {
  const pool = new pg.Pool({
    connectionString: url,
    max: options.max ?? 10,
    types,
    application_name: options.name ?? "sluice",
    pipeline: options.pipeline ?? false,
    options: `-c search_path=${SCHEMA}`,
    connectionTimeoutMillis: CONNECTING,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE,
  });
  keepAlive(pool);
  if (options.prepare === false) pool.on("connect", dropNames);
  return pool;
}

/** Has each statement parsed and planned anew on this connection, whether it has a name or not. */
function dropNames(client: pg.ClientBase): void {
  const query = client.query.bind(client) as (...given: unknown[]) => unknown;
  client.query = ((statement: unknown, ...rest: unknown[]) => {
    const named = typeof statement === "object" && statement !== null && "name" in statement && "text" in statement;
    return query(named ? { ...statement, name: undefined } : statement, ...rest);
  }) as typeof client.query;
}

/** SQLSTATEs of a connection whose prepared statements are not what they were: a table was altered, or a pooler gave us another one's. */
const UNPREPARED = new Set(["0A000", "26000", "42P05"]);

/**
 * The loss of a connection, idle or in use, must not end the process, which is what Node does with an `error` that nobody
 * listens to. The statement under way reports it anyway, and the pool opens another connection.
 */
export function keepAlive(pool: pg.Pool): void {
  pool.on("error", () => {});
  pool.on("connect", client => void client.on("error", () => {}));
}

/**
 * Milliseconds that a transaction which writes may stand still. A process that is stopped, or cut off, in the middle of one
 * would keep its locks for as long as that lasts: no other listener could take over, no other worker touch the same rows.
 */
export const STANDSTILL = 5_000;

/**
 * Runs `work` in one transaction and gives its result; anything it throws rolls everything back.
 *
 * @param isolation the default reads what is committed, for writing; `repeatable read` sees one moment throughout, and may
 *   stand still between its statements as long as it likes
 * @param opening statements without parameters that go along with the `begin`, in one round trip; `work` gets their results
 */
export async function transaction<T>(
  db: Db,
  work: (tx: Tx, opened: pg.QueryResult[]) => Promise<T>,
  isolation = "read committed",
  opening: readonly string[] = [],
): Promise<T> {
  const tx = await db.connect();
  let broken: Error | undefined;
  try {
    const limit = isolation === "read committed" ? [`set local idle_in_transaction_session_timeout = ${STANDSTILL}`] : [];
    const before = [`begin isolation level ${isolation}`, ...limit];
    // Of several statements at once pg gives an array of results.
    const results: unknown = await tx.query([...before, ...opening].join("; "));
    const result = await work(tx, opening.length > 0 ? (results as pg.QueryResult[]).slice(before.length) : []);
    await tx.query("commit");
    return result;
  } catch (error) {
    if (UNPREPARED.has((error as { code?: string }).code ?? "")) broken = error as Error;
    await tx.query("rollback").catch(e => {
      broken = e as Error;
    });
    throw error;
  } finally {
    tx.release(broken);
  }
}

/**
 * An array parameter of values that mean nothing special in one: numbers, hashes, addresses. pg would look at each of them for
 * what has to be quoted, which costs more than all else that is done with a row.
 */
export const plainArray = (values: readonly (number | bigint | string)[]) => `{${values.join(",")}}`;

/** SQLSTATE classes of a server that is not there (any more), starts, stops, or asks to try again. */
const TRANSIENT_STATES = /^(08|57P0|53|40001|40P01|25006|25P03|58)/;
const TRANSIENT_CODES = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
]);
const TRANSIENT_TEXT =
  /connection terminated|timeout expired|connection ended|not queryable|server closed the connection|timeout exceeded/i;

/** Whether Postgres is away or asks for another try, so that waiting helps and the statement itself is not at fault. */
export function isDbOutage(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.some(isDbOutage);
  if (!(error instanceof Error)) return false;
  const code = (error as { code?: string }).code ?? "";
  return TRANSIENT_CODES.has(code) || TRANSIENT_STATES.test(code) || TRANSIENT_TEXT.test(error.message);
}

/** What `work` gives, which is tried again for as long as Postgres is away. An outage is said once when it begins and once when it ends. */
export async function outlast<T>(work: () => Promise<T>, { log, signal }: { log: Log; signal: AbortSignal }): Promise<T> {
  const outage = createOutage(log, "Postgres");
  for (let delay = 100; ; delay = Math.min(delay * 2, 3_000)) {
    signal.throwIfAborted();
    try {
      const result = await work();
      outage.ends();
      return result;
    } catch (error) {
      if (!isDbOutage(error)) throw error;
      outage.begins(describe(error));
      await sleep(delay, signal);
    }
  }
}

/** Waits until Postgres answers. Rejects at once where the server answers and refuses us. */
export async function waitForDb(db: Db, log: Log, signal: AbortSignal): Promise<void> {
  const ask = () =>
    db.query("select 1").catch(cause => {
      if (isDbOutage(cause)) throw cause;
      throw new SluiceError("Postgres refuses us", { hint: "check DATABASE_URL: user, password, database", cause });
    });
  await outlast(ask, { log, signal });
}

/** Resolves after `ms` (soon where that is past), or at once when `signal` aborts; never rejects. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, Math.max(0, ms));
    signal?.addEventListener("abort", done, { once: true });
  });
}

/** Naps that a wake-up ends. One that came since the last nap is not lost: the next nap is none. */
export function createNaps(signal: AbortSignal): { nap(ms: number): Promise<void>; wake(): void } {
  let woken = false;
  let rouse = () => {};
  return {
    async nap(ms) {
      const napping = new AbortController();
      rouse = () => napping.abort();
      signal.addEventListener("abort", rouse, { once: true });
      if (!woken) await sleep(ms, signal.aborted ? signal : napping.signal);
      signal.removeEventListener("abort", rouse);
      woken = false;
    },
    wake() {
      woken = true;
      rouse();
    },
  };
}

/** What `promise` gives, or undefined where that takes longer than `ms`. What comes later is dropped, a failure too. */
export async function atMost<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  const over = new AbortController();
  promise.catch(() => {});
  try {
    return await Promise.race([promise, sleep(ms, over.signal).then(() => undefined)]);
  } finally {
    over.abort();
  }
}

/** Postgres holds neither NUL nor lone surrogates in text: each becomes U+FFFD. The raw bytes of an event are kept beside. */
export function cleanText(text: string): string {
  return text.toWellFormed().replaceAll("\0", "\uFFFD");
}

export type Migration = { name: string; sql: string };

const MIGRATION_LOCK = 0x51_01_ce;

/**
 * Brings the schema up to date: each migration once, in order, forward only, all processes one after another.
 *
 * @returns the names of those that ran now
 */
export async function migrate(db: Db, migrations: readonly Migration[]): Promise<string[]> {
  return transaction(db, async tx => {
    await tx.query("select pg_advisory_xact_lock($1)", [MIGRATION_LOCK]);
    await tx.query(`create schema if not exists ${SCHEMA}`);
    await tx.query("create table if not exists migrations (name text primary key, at timestamptz not null default now())");
    const pending = await missingMigrations(tx, migrations);
    for (const { name, sql } of pending) {
      await tx.query(sql);
      await tx.query("insert into migrations (name) values ($1)", [name]);
    }
    return pending.map(({ name }) => name);
  });
}

/** The migrations that this database has not seen. */
export async function missingMigrations<M extends Migration>(sql: Sql, migrations: readonly M[]): Promise<M[]> {
  const { rows } = await sql.query<{ name: string }>("select name from migrations");
  const done = new Set(rows.map(row => row.name));
  return migrations.filter(({ name }) => !done.has(name));
}
