import type { Db, Sql } from "../db.ts";
import { describe } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Recorded } from "./journal.ts";

/**
 * Counts for charts, in spans of two lengths: short ones for the last hours, long ones for the last days. Each process adds
 * up what it does and writes it once a second, so that nothing waits for it; a process that is killed takes a second of it along.
 */
const STEPS = { short: 10, long: 720 };
/** Seconds that spans are kept for. */
const KEPT = { short: 2 * 3_600, long: 7 * 86_400 };

/** `label`: of events `Contract.Event`, of latencies the number of their bin, of what is done and failed the queue. */
export type Metric = "event" | "reorg" | "latency" | "done" | "failed" | "lag";

const FLUSH = 1_000;
const FORGET_EVERY = 600_000;

/** Latencies are counted in bins, each a quarter wider than the one before: what is read of them is right to an eighth. */
const BIN = 1.25;
const binOf = (milliseconds: number) => Math.max(0, Math.round(Math.log(Math.max(1, milliseconds)) / Math.log(BIN)));
export const latencyOf = (bin: number) => Math.round(BIN ** bin * 10) / 10;

export type Activity = {
  recorded(recorded: Recorded): void;
  settled(settled: { queue: string; state: "done" | "dead"; latency?: number }): void;
  /** Writes what is left. */
  close(): Promise<void>;
};

/** @param lag whether the blocks between head and tip are written down too, every second: by the one who leads */
export function openActivity({ db, chainId, log, lag = false }: { db: Db; chainId: number; log: Log; lag?: boolean }): Activity {
  let counts = new Map<string, number>();
  let timer: NodeJS.Timeout | undefined;
  let forgotAt = 0;

  function schedule(): void {
    timer ??= setTimeout(() => void flush(), FLUSH).unref();
  }

  function add(metric: Metric, label: string, value = 1): void {
    const key = `${metric} ${label}`;
    counts.set(key, (counts.get(key) ?? 0) + value);
    schedule();
  }

  async function flush(): Promise<void> {
    const written = counts;
    counts = new Map();
    try {
      await write(db, chainId, written, lag);
      if (Date.now() - forgotAt > FORGET_EVERY) await forget(db, chainId);
      forgotAt ||= Date.now();
    } catch (error) {
      log.debug({ reason: describe(error) }, "the activity could not be written; it is tried again");
      for (const [key, value] of written) counts.set(key, (counts.get(key) ?? 0) + value);
    }
    clearTimeout(timer);
    timer = undefined;
    if (lag && !closed) schedule();
  }

  let closed = false;
  if (lag) schedule();
  return {
    recorded({ update, events }) {
      for (const { decoded } of events) add("event", `${decoded.contract}.${decoded.name}`);
      if (update.type === "reorg") add("reorg", "");
    },
    settled({ queue, state, latency }) {
      add(state === "done" ? "done" : "failed", queue);
      if (latency !== undefined) add("latency", String(binOf(latency)));
    },
    async close() {
      closed = true;
      if (counts.size > 0) await flush();
      clearTimeout(timer);
    },
  };
}

/** Adds to the spans of now. All processes take the rows in one order, so that none waits for another in a ring. */
async function write(db: Db, chainId: number, counts: ReadonlyMap<string, number>, lag: boolean): Promise<void> {
  const keys = [...counts.keys()].map(key => key.split(" "));
  await db.query(
    `insert into activity as a (chain_id, step, at, metric, label, value)
     select $1, step, floor(extract(epoch from clock_timestamp()) / step) * step, metric, label, value
     from (
       select * from unnest($2::text[], $3::text[], $4::bigint[])
       union all
       select 'lag', '', greatest(0, head_number - tip_number) from checkpoint where $5 and chain_id = $1 and head_number is not null
         and tip_number is not null
     ) as c (metric, label, value), unnest($6::int[]) as step
     order by step, metric, label
     on conflict (chain_id, step, at, metric, label) do update
       set value = case when a.metric = 'lag' then greatest(a.value, excluded.value) else a.value + excluded.value end`,
    [chainId, keys.map(([metric]) => metric), keys.map(([, label]) => label), [...counts.values()], lag, [STEPS.short, STEPS.long]],
  );
}

async function forget(db: Db, chainId: number): Promise<void> {
  for (const length of ["short", "long"] as const) {
    await db.query("delete from activity where chain_id = $1 and step = $2 and at < extract(epoch from now()) - $3::int", [
      chainId,
      STEPS[length],
      KEPT[length],
    ]);
  }
}

/** What a chart shows: how far back, and how many seconds one of its points stands for. */
export const WINDOWS = {
  "15m": { seconds: 900, step: 10 },
  "1h": { seconds: 3_600, step: 30 },
  "24h": { seconds: 86_400, step: 720 },
} as const;
export type Window = keyof typeof WINDOWS;

/** One sum (of lags the greatest) per point, metric and label. `time`: the point's start, in seconds since 1970. */
export type Count = { time: number; metric: Metric; label: string; value: number };

/** The counts of a window, and what time the database has. */
export async function readActivity(sql: Sql, chainId: number, window: Window): Promise<{ now: number; from: number; counts: Count[] }> {
  const { seconds, step } = WINDOWS[window];
  const { rows: times } = await sql.query<{ now: number }>("select extract(epoch from clock_timestamp())::float8 as now");
  const { now } = times[0]!;
  const from = Math.floor(now / step) * step - seconds + step;
  const { rows: counts } = await sql.query<Count>(
    `select at / $3 * $3 as time, metric, label, case when metric = 'lag' then max(value) else sum(value)::bigint end as value
     from activity where chain_id = $1 and step = $2 and at >= $4 group by 1, 2, 3 order by 1`,
    [chainId, step === STEPS.long ? STEPS.long : STEPS.short, step, from],
  );
  return { now, from, counts };
}

/** As a subquery it is found once, so that the index finds the rows after it. */
const SECONDS_NOW = "(select floor(extract(epoch from clock_timestamp()))::bigint)";

/** How many effects of the last five minutes had each latency, by the number of their bin: see `latencyOf`. */
export async function readLatencies(sql: Sql, chainId: number): Promise<Map<number, number>> {
  const { rows } = await sql.query<{ bin: number; count: number }>(
    `select label::int as bin, sum(value)::bigint as count from activity
     where chain_id = $1 and step = $2 and at > ${SECONDS_NOW} - 300 and metric = 'latency' group by 1`,
    [chainId, STEPS.short],
  );
  return new Map(rows.map(({ bin, count }) => [bin, count]));
}

/** Deliveries per second that each queue settled, over the last minute. */
export async function readRates(sql: Sql, chainId: number): Promise<Map<string, number>> {
  const { rows } = await sql.query<{ queue: string; rate: number }>(
    `select label as queue, sum(value)::float8 / 60 as rate from activity
     where chain_id = $1 and step = $2 and at > ${SECONDS_NOW} - 60 and metric = 'done' group by label`,
    [chainId, STEPS.short],
  );
  return new Map(rows.map(({ queue, rate }) => [queue, rate]));
}
