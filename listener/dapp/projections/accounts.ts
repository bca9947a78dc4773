import type { Projection } from "../../app.ts";
import type { Sql } from "../../db.ts";
import type { Event } from "../contracts.ts";

/** Who registered, when, and under which name. */
export const accounts: Projection<Event<"SluiceToken.Registered">> = {
  name: "accounts",
  tables: ["accounts"],
  migrations: [
    `create table accounts (
       chain_id bigint not null,
       address text not null,
       name text not null,
       granted numeric(78,0) not null,
       block_number bigint not null,
       position bigint not null,
       primary key (chain_id, address)
     );
     create index accounts_by_position on accounts (chain_id, position desc);`,
  ],

  async apply(tx, events) {
    await tx.query(
      `insert into accounts (chain_id, address, name, granted, block_number, position)
       select * from unnest($1::bigint[], $2::text[], $3::text[], $4::numeric[], $5::bigint[], $6::bigint[])`,
      [
        events.map(e => e.chainId),
        events.map(e => e.arguments.account),
        events.map(e => e.arguments.name),
        events.map(e => e.arguments.grant),
        events.map(e => e.block.number),
        events.map(e => e.position),
      ],
    );
  },

  async revert(tx, events) {
    await tx.query("delete from accounts where chain_id = $1 and position = any($2)", [events[0]!.chainId, events.map(e => e.position)]);
  },
};

export type Account = { address: string; name: string; granted: bigint; block: number; position: number };

const COLUMNS = "address, name, granted, block_number as block, position";

/** The registration of an account, or undefined where it has not registered. */
export async function readAccount(sql: Sql, chainId: number, address: string): Promise<Account | undefined> {
  const { rows } = await sql.query<Account>(`select ${COLUMNS} from accounts where chain_id = $1 and address = $2`, [chainId, address]);
  return rows[0];
}

/** Registered accounts, the newest first. `before` is the position of the last one of the page before. */
export async function readAccounts(sql: Sql, chainId: number, page: { limit: number; before: number | undefined }): Promise<Account[]> {
  const { rows } = await sql.query<Account>(
    `select ${COLUMNS} from accounts where chain_id = $1 and ($3::bigint is null or position < $3) order by position desc limit $2`,
    [chainId, page.limit, page.before ?? null],
  );
  return rows;
}
