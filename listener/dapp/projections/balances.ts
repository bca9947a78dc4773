import { ZeroAddress } from "ethers";
import type { Projection } from "../../app.ts";
import type { Sql, Tx } from "../../db.ts";
import type { Event } from "../contracts.ts";

type Transfer = Event<"SluiceToken.Transfer">;

/** What each account holds. An account without a row holds nothing. */
export const balances: Projection<Transfer> = {
  name: "balances",
  tables: ["balances"],
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
  const addresses = sorted.map(([address]) => address);
  // Deliveries run side by side, so a balance may pass below zero on its way; at the end of all of them it has not.
  const { rows } = await tx.query<{ empty: boolean }>(
    `with changed as (
       insert into balances as b (chain_id, address, balance) select $1, * from unnest($2::text[], $3::numeric[])
       on conflict (chain_id, address) do update set balance = b.balance + excluded.balance
       returning balance = 0 as empty
     ) select coalesce(bool_or(empty), false) as empty from changed`,
    [chainId, addresses, sorted.map(([, by]) => by)],
  );
  if (!rows[0]!.empty) return;
  await tx.query("delete from balances where chain_id = $1 and address = any($2) and balance = 0", [chainId, addresses]);
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
  const { rows } = await sql.query<{ holders: number }>("select count(*) as holders from balances where chain_id = $1 and balance > 0", [
    chainId,
  ]);
  return rows[0]!.holders;
}
