import { ZeroAddress } from "ethers/constants";
import type { Projection } from "../../app.ts";
import type { Sql, Tx } from "../../db.ts";
import type { Event } from "../contracts.ts";

type Counted = Event<
  | "SluiceToken.Transfer"
  | "SluiceToken.Registered"
  | "SluiceToken.Minted"
  | "SluiceToken.Mined"
  | "SluiceToken.TransferWithMemo"
  | "SluiceToken.Paused"
  | "SluiceToken.Unpaused"
>;

/**
 * What is counted, in total and per minute, hour and day. Supply, volume, granted, minted and mined are amounts in the
 * smallest unit; transfers, registered, solutions and memos are numbers of events.
 */
export const METRICS = ["supply", "transfers", "volume", "registered", "granted", "minted", "mined", "solutions", "memos"] as const;
export type Metric = (typeof METRICS)[number];

/** What each event adds to which metric. A mint or a burn moves the supply; a transfer is one between two accounts. */
const CONTRIBUTIONS: { [E in Counted as E["event"]]: (event: E) => Partial<Record<Metric, bigint>> } = {
  "SluiceToken.Transfer": ({ arguments: { from, to, value } }) =>
    from === ZeroAddress ? { supply: value } : to === ZeroAddress ? { supply: -value } : { transfers: 1n, volume: value },
  "SluiceToken.Registered": ({ arguments: { grant } }) => ({ registered: 1n, granted: grant }),
  "SluiceToken.Minted": ({ arguments: { amount } }) => ({ minted: amount }),
  "SluiceToken.Mined": ({ arguments: { reward } }) => ({ mined: reward, solutions: 1n }),
  "SluiceToken.TransferWithMemo": () => ({ memos: 1n }),
  "SluiceToken.Paused": () => ({}),
  "SluiceToken.Unpaused": () => ({}),
};

const SECONDS = { minute: 60, hour: 3_600, day: 86_400 } as const;
export const RESOLUTIONS = ["minute", "hour", "day"] as const;
export type Resolution = (typeof RESOLUTIONS)[number];

/** Totals and rates of the token. `pauses` keeps each change of the paused state: the latest one that is left, holds. */
export const statistics: Projection<Counted> = {
  name: "statistics",
  tables: ["statistics", "statistics_series", "pauses"],
  migrations: [
    `create table statistics (
       chain_id bigint not null,
       metric text not null,
       value numeric(78,0) not null,
       primary key (chain_id, metric)
     );
     create table statistics_series (
       chain_id bigint not null,
       metric text not null,
       resolution text not null,
       bucket bigint not null,
       value numeric(78,0) not null,
       primary key (chain_id, metric, resolution, bucket)
     );
     create table pauses (
       chain_id bigint not null,
       position bigint not null,
       paused boolean not null,
       primary key (chain_id, position)
     );`,
    // One amount fits into 256 bits; what many add up to need not.
    "alter table statistics alter column value type numeric; alter table statistics_series alter column value type numeric;",
  ],

  async apply(tx, events) {
    await count(tx, events, 1n);
    const pauses = events.filter(e => e.event === "SluiceToken.Paused" || e.event === "SluiceToken.Unpaused");
    await tx.query("insert into pauses (chain_id, position, paused) select * from unnest($1::bigint[], $2::bigint[], $3::boolean[])", [
      pauses.map(e => e.chainId),
      pauses.map(e => e.position),
      pauses.map(e => e.event === "SluiceToken.Paused"),
    ]);
  },

  async revert(tx, events) {
    await count(tx, events, -1n);
    await tx.query("delete from pauses where chain_id = $1 and position = any($2)", [events[0]!.chainId, events.map(e => e.position)]);
  },
};

async function count(tx: Tx, events: readonly Counted[], sign: bigint): Promise<void> {
  const totals = new Map<string, bigint>();
  const series = new Map<string, bigint>();
  const add = (map: Map<string, bigint>, key: string, by: bigint) => map.set(key, (map.get(key) ?? 0n) + by * sign);
  for (const event of events) {
    const contribution = CONTRIBUTIONS[event.event] as (event: Counted) => Partial<Record<Metric, bigint>>;
    for (const [metric, by] of Object.entries(contribution(event))) {
      add(totals, metric, by);
      for (const [resolution, seconds] of Object.entries(SECONDS)) {
        add(series, `${metric} ${resolution} ${event.block.timestamp - (event.block.timestamp % seconds)}`, by);
      }
    }
  }
  const chainId = events[0]!.chainId;
  const rows = (map: Map<string, bigint>) =>
    [...map].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => [...key.split(" "), value]);
  const column = (table: unknown[][], i: number) => table.map(row => row[i]);

  const total = rows(totals);
  await tx.query(
    `insert into statistics as s (chain_id, metric, value) select $1, * from unnest($2::text[], $3::numeric[])
     on conflict (chain_id, metric) do update set value = s.value + excluded.value`,
    [chainId, column(total, 0), column(total, 1)],
  );
  await tx.query("delete from statistics where chain_id = $1 and metric = any($2) and value = 0", [chainId, column(total, 0)]);

  const buckets = rows(series);
  await tx.query(
    `insert into statistics_series as s (chain_id, metric, resolution, bucket, value)
     select $1, * from unnest($2::text[], $3::text[], $4::bigint[], $5::numeric[])
     on conflict (chain_id, metric, resolution, bucket) do update set value = s.value + excluded.value`,
    [chainId, column(buckets, 0), column(buckets, 1), column(buckets, 2), column(buckets, 3)],
  );
  await tx.query(
    `delete from statistics_series s using unnest($2::text[], $3::text[], $4::bigint[]) as d (metric, resolution, bucket)
     where s.chain_id = $1 and s.metric = d.metric and s.resolution = d.resolution and s.bucket = d.bucket and s.value = 0`,
    [chainId, column(buckets, 0), column(buckets, 1), column(buckets, 2)],
  );
}

export type Statistics = Record<Metric, bigint> & { paused: boolean };

/** The totals, and whether the token is paused. */
export async function readStatistics(sql: Sql, chainId: number): Promise<Statistics> {
  const { rows } = await sql.query<{ metric: Metric; value: bigint }>("select metric, value from statistics where chain_id = $1", [
    chainId,
  ]);
  const { rows: pauses } = await sql.query<{ paused: boolean }>(
    "select paused from pauses where chain_id = $1 order by position desc limit 1",
    [chainId],
  );
  const values = new Map(rows.map(({ metric, value }) => [metric, value]));
  const totals = Object.fromEntries(METRICS.map(metric => [metric, values.get(metric) ?? 0n])) as Record<Metric, bigint>;
  return { ...totals, paused: pauses[0]?.paused ?? false };
}

export type Point = { time: number; value: bigint };

/**
 * A metric over time: the newest `limit` points of [from, to], oldest first. `time` is the start of a minute, hour or day in
 * seconds; empty ones are left out.
 */
export async function readSeries(
  sql: Sql,
  chainId: number,
  { metric, resolution, from, to, limit }: { metric: Metric; resolution: Resolution; from: number; to: number; limit: number },
): Promise<Point[]> {
  const { rows } = await sql.query<Point>(
    `select bucket as time, value from statistics_series
     where chain_id = $1 and metric = $2 and resolution = $3 and bucket >= $4 and bucket <= $5 order by bucket desc limit $6`,
    [chainId, metric, resolution, from, to, limit],
  );
  return rows.reverse();
}
