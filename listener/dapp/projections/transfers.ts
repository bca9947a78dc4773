import type { Projection } from "../../app.ts";
import { plainArray, type Sql } from "../../db.ts";
import type { Event } from "../contracts.ts";

/** An address as a bytea in the text of an array, and as a parameter by itself. */
const bytesInArray = (address: string) => `\\\\x${address.slice(2)}`;
const bytesOf = (address: string) => Buffer.from(address.slice(2), "hex");

/** Every transfer, mint and burn, found by either side: a person's history. */
export const transfers: Projection<Event<"SluiceToken.Transfer">> = {
  name: "transfers",
  tables: ["transfers"],
  migrations: [
    `create table transfers (
       chain_id bigint not null,
       position bigint not null,
       event_id text not null,
       sender text not null,
       recipient text not null,
       amount numeric(78,0) not null,
       block_number bigint not null,
       block_hash text not null,
       block_timestamp bigint not null,
       transaction_hash text not null,
       log_index integer not null,
       primary key (chain_id, position)
     );
     create index transfers_by_sender on transfers (chain_id, sender, position desc);
     create index transfers_by_recipient on transfers (chain_id, recipient, position desc);`,
    // The id is made of what is there already.
    "alter table transfers drop column event_id",
    // What the event says besides is in the journal. Of addresses the indexes hold the bytes, half as long as their digits.
    `alter table transfers
       drop column block_hash, drop column block_timestamp, drop column transaction_hash, drop column log_index,
       alter column sender type bytea using decode(substr(sender, 3), 'hex'),
       alter column recipient type bytea using decode(substr(recipient, 3), 'hex')`,
  ],

  async apply(tx, events) {
    await tx.query(
      `insert into transfers (chain_id, position, sender, recipient, amount, block_number)
       select $1, * from unnest($2::bigint[], $3::bytea[], $4::bytea[], $5::numeric[], $6::bigint[])`,
      [
        events[0]!.chainId,
        plainArray(events.map(e => e.position)),
        plainArray(events.map(e => bytesInArray(e.arguments.from))),
        plainArray(events.map(e => bytesInArray(e.arguments.to))),
        plainArray(events.map(e => e.arguments.value)),
        plainArray(events.map(e => e.block.number)),
      ],
    );
  },

  async revert(tx, events) {
    await tx.query("delete from transfers where chain_id = $1 and position = any($2)", [events[0]!.chainId, events.map(e => e.position)]);
  },
};

export type Transfer = {
  position: number;
  id: string;
  from: string;
  to: string;
  amount: bigint;
  block: { number: number; hash: string; timestamp: number };
  transactionHash: string;
  logIndex: number;
};

/** SQL: these rows of `transfers`, the newest first, with what the journal says of their events, looked up one by one. */
const withEvents = (rows: string) => `
  select t.position, t.chain_id || '-' || e.block_hash || '-' || e.log_index as id, '0x' || encode(t.sender, 'hex') as "from",
    '0x' || encode(t.recipient, 'hex') as "to", t.amount, e.transaction_hash as "transactionHash", e.log_index as "logIndex",
    json_build_object('number', e.block_number, 'hash', e.block_hash, 'timestamp', e.block_timestamp) as block
  from (${rows}) t cross join lateral (
    select * from events where chain_id = t.chain_id and position = t.position limit 1
  ) e order by t.position desc`;

/** Bounds of the journal's positions, the upper one excluded, and who sends or gets. What is undefined is not asked for. */
export type TransferFilter = {
  from?: string | undefined;
  to?: string | undefined;
  blocks: { from: number | undefined; to: number | undefined };
  positions: { from: number | undefined; before: number | undefined };
};

/** Transfers of all accounts, the newest first. */
export async function readAllTransfers(
  sql: Sql,
  chainId: number,
  { from, to, blocks, positions }: TransferFilter,
  limit: number,
): Promise<Transfer[]> {
  const values: unknown[] = [chainId, limit];
  const conditions = ["chain_id = $1"];
  const where = (condition: string, value: unknown) => {
    if (value !== undefined) conditions.push(`${condition} $${values.push(value)}`);
  };
  where("sender =", from && bytesOf(from));
  where("recipient =", to && bytesOf(to));
  // The positions find the rows. The blocks leave out what a reorg took and the queue has not taken back yet.
  where("position >=", positions.from);
  where("position <", positions.before);
  where("block_number >=", blocks.from);
  where("block_number <=", blocks.to);
  const { rows } = await sql.query<Transfer>(
    withEvents(`select * from transfers where ${conditions.join(" and ")} order by position desc limit $2`),
    values,
  );
  return rows;
}

/** An account's transfers, in and out, the newest first. `before` is the position of the last one of the page before. */
export async function readTransfers(
  sql: Sql,
  chainId: number,
  address: string,
  page: { limit: number; before: number | undefined },
): Promise<Transfer[]> {
  // Each side through its own index; `union` without `all` drops a transfer to oneself from one of them.
  const side = (column: string) =>
    `(select * from transfers where chain_id = $1 and ${column} = $2 and ($4::bigint is null or position < $4) order by position desc limit $3)`;
  const { rows } = await sql.query<Transfer>(withEvents(`${side("sender")} union ${side("recipient")} order by position desc limit $3`), [
    chainId,
    bytesOf(address),
    page.limit,
    page.before ?? null,
  ]);
  return rows;
}
