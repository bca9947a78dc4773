import { ZeroAddress } from "ethers/constants";
import type { Projection } from "../../app.ts";
import { plainArray, type Sql, type Tx } from "../../db.ts";
import type { Event } from "../contracts.ts";

type Transfer = Event<"SluiceToken.Transfer">;

/** In how many rows the holders are counted, by the last digit of their address: two batches seldom meet in one. */
const SHARDS = 16;

/** What each account holds, and how many hold something. An account without a row holds nothing. */
export const balances: Projection<Transfer> = {
  name: "balances",
  tables: ["balances", "holders"],
  migrations: [
    `create table balances (
       chain_id bigint not null,
       address text not null,
       balance numeric(78,0) not null,
       primary key (chain_id, address)
     );
     create index balances_holders on balances (chain_id) where balance > 0;`,
    // A balance that no index knows is changed in place, where its page has room.
    "drop index balances_holders; alter table balances set (fillfactor = 50);",
    // On its way a balance may pass the bounds of a uint256. The holders are counted as they come and go: of a million, a
    // count would read them all.
    `alter table balances alter column balance type numeric;
     create table holders (
       chain_id bigint not null,
       shard int not null,
       count bigint not null,
       primary key (chain_id, shard)
     );
     insert into holders (chain_id, shard, count)
     select chain_id, strpos('0123456789abcdef', lower(right(address, 1))) - 1, count(*) from balances where balance > 0 group by 1, 2;`,
  ],
  apply: (tx, events) => move(tx, events, 1n),
  revert: (tx, events) => move(tx, events, -1n),
};

async function move(tx: Tx, events: readonly Transfer[], sign: bigint): Promise<void> {
  const changes = new Map<string, bigint>();
  const change = (account: string, by: bigint) => {
    if (account !== ZeroAddress) changes.set(account, (changes.get(account) ?? 0n) + by * sign);
  };
  for (const { arguments: transfer } of events) {
    change(transfer.from, -transfer.value);
    change(transfer.to, transfer.value);
  }
  // In one order everywhere, so that two batches lock the same rows one after the other and never crosswise.
  const sorted = [...changes].filter(([, by]) => by !== 0n).sort(([a], [b]) => (a < b ? -1 : 1));
  if (sorted.length === 0) return;
  const chainId = events[0]!.chainId;
  // Deliveries run side by side, so a balance may pass below zero on its way; at the end of all of them it has not.
  const { rows } = await tx.query<{ address: string; balance: bigint }>(
    `with change as materialized (
       select * from unnest($2::text[], $3::numeric[]) as c (address, by)
     ), changed as (
       insert into balances as b (chain_id, address, balance) select $1, address, by from change
       on conflict (chain_id, address) do update set balance = b.balance + excluded.balance
       returning address, balance
     ) select address, balance from changed join change using (address) where balance = 0 or (balance > 0) <> (balance - by > 0)`,
    [chainId, plainArray(sorted.map(([address]) => address)), plainArray(sorted.map(([, by]) => by))],
  );
  if (rows.length === 0) return;
  const empty = rows.filter(({ balance }) => balance === 0n).map(({ address }) => address);
  if (empty.length > 0) {
    await tx.query("delete from balances where chain_id = $1 and address = any($2) and balance = 0", [chainId, empty]);
  }
  await countTurned(
    tx,
    chainId,
    rows.filter(({ address, balance }) => balance > 0n || balance - changes.get(address)! > 0n),
  );
}

/** Counts those that hold something now and did not before, and those that did and do not. */
async function countTurned(tx: Tx, chainId: number, turned: readonly { address: string; balance: bigint }[]): Promise<void> {
  const counts = Array<number>(SHARDS).fill(0);
  for (const { address, balance } of turned) counts[Number.parseInt(address.at(-1)!, SHARDS)]! += balance > 0n ? 1 : -1;
  const shards = counts.flatMap((count, shard) => (count === 0 ? [] : [shard]));
  if (shards.length === 0) return;
  await tx.query(
    `insert into holders as h (chain_id, shard, count) select $1, * from unnest($2::int[], $3::bigint[])
     on conflict (chain_id, shard) do update set count = h.count + excluded.count`,
    [chainId, shards, shards.map(shard => counts[shard])],
  );
  await tx.query("delete from holders where chain_id = $1 and shard = any($2) and count = 0", [chainId, shards]);
}

/** The balance of an account in the smallest unit. */
export async function readBalance(sql: Sql, chainId: number, address: string): Promise<bigint> {
  const { rows } = await sql.query<{ balance: bigint }>("select balance from balances where chain_id = $1 and address = $2", [
    chainId,
    address,
  ]);
  return rows[0]?.balance ?? 0n;
}

/** The balances of several accounts; one that holds nothing is left out. */
export async function readBalances(sql: Sql, chainId: number, addresses: readonly string[]): Promise<Map<string, bigint>> {
  const { rows } = await sql.query<{ address: string; balance: bigint }>(
    "select address, balance from balances where chain_id = $1 and address = any($2)",
    [chainId, addresses],
  );
  return new Map(rows.map(({ address, balance }) => [address, balance]));
}

/** How many accounts hold something. */
export async function countHolders(sql: Sql, chainId: number): Promise<number> {
  const { rows } = await sql.query<{ holders: number }>(
    "select coalesce(sum(count), 0)::bigint as holders from holders where chain_id = $1",
    [chainId],
  );
  return rows[0]!.holders;
}
