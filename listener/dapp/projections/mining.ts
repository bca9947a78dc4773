import type { Projection } from "../../app.ts";
import type { Sql, Tx } from "../../db.ts";
import type { Event } from "../contracts.ts";

type Mined = Event<"SluiceToken.Mined">;
type Retargeted = Event<"SluiceToken.Retargeted">;

/** Every solution that was paid, every change of the target, and what each miner has earned. */
export const mining: Projection<Mined | Retargeted> = {
  name: "mining",
  tables: ["mining_epochs", "mining_targets", "mining_miners"],
  migrations: [
    `create table mining_epochs (
       chain_id bigint not null,
       position bigint not null,
       epoch numeric(78,0) not null,
       beneficiary text not null,
       reward numeric(78,0) not null,
       digest text not null,
       nonce numeric(78,0) not null,
       block_number bigint not null,
       block_timestamp bigint not null,
       primary key (chain_id, position)
     );
     create table mining_targets (
       chain_id bigint not null,
       position bigint not null,
       epoch numeric(78,0) not null,
       target numeric(78,0) not null,
       primary key (chain_id, position)
     );
     create table mining_miners (
       chain_id bigint not null,
       beneficiary text not null,
       solutions bigint not null,
       rewards numeric(78,0) not null,
       primary key (chain_id, beneficiary)
     );
     create index mining_miners_by_rewards on mining_miners (chain_id, rewards desc, beneficiary);`,
    // One reward fits into 256 bits; what many add up to need not.
    "alter table mining_miners alter column rewards type numeric;",
  ],

  async apply(tx, events) {
    const solved = events.filter(e => e.event === "SluiceToken.Mined");
    await tx.query(
      `insert into mining_epochs (chain_id, position, epoch, beneficiary, reward, digest, nonce, block_number, block_timestamp)
       select * from unnest($1::bigint[], $2::bigint[], $3::numeric[], $4::text[], $5::numeric[], $6::text[], $7::numeric[], $8::bigint[], $9::bigint[])`,
      [
        solved.map(e => e.chainId),
        solved.map(e => e.position),
        solved.map(e => e.arguments.epoch),
        solved.map(e => e.arguments.beneficiary),
        solved.map(e => e.arguments.reward),
        solved.map(e => e.arguments.digest),
        solved.map(e => e.arguments.nonce),
        solved.map(e => e.block.number),
        solved.map(e => e.block.timestamp),
      ],
    );
    const retargeted = events.filter(e => e.event === "SluiceToken.Retargeted");
    await tx.query(
      `insert into mining_targets (chain_id, position, epoch, target)
       select * from unnest($1::bigint[], $2::bigint[], $3::numeric[], $4::numeric[])`,
      [
        retargeted.map(e => e.chainId),
        retargeted.map(e => e.position),
        retargeted.map(e => e.arguments.epoch),
        retargeted.map(e => e.arguments.target),
      ],
    );
    await pay(tx, solved, 1n);
  },

  async revert(tx, events) {
    const [{ chainId } = { chainId: 0 }] = events;
    const positions = events.map(e => e.position);
    await tx.query("delete from mining_epochs where chain_id = $1 and position = any($2)", [chainId, positions]);
    await tx.query("delete from mining_targets where chain_id = $1 and position = any($2)", [chainId, positions]);
    await pay(
      tx,
      events.filter(e => e.event === "SluiceToken.Mined"),
      -1n,
    );
  },
};

async function pay(tx: Tx, solved: readonly Mined[], sign: bigint): Promise<void> {
  if (solved.length === 0) return;
  const earned = new Map<string, { solutions: bigint; rewards: bigint }>();
  for (const { beneficiary, reward } of solved.map(e => e.arguments)) {
    const { solutions, rewards } = earned.get(beneficiary) ?? { solutions: 0n, rewards: 0n };
    earned.set(beneficiary, { solutions: solutions + sign, rewards: rewards + sign * reward });
  }
  const rows = [...earned].sort(([a], [b]) => (a < b ? -1 : 1));
  const chainId = solved[0]!.chainId;
  const beneficiaries = rows.map(([beneficiary]) => beneficiary);
  await tx.query(
    `insert into mining_miners as m (chain_id, beneficiary, solutions, rewards)
     select $1, * from unnest($2::text[], $3::bigint[], $4::numeric[])
     on conflict (chain_id, beneficiary) do update set solutions = m.solutions + excluded.solutions, rewards = m.rewards + excluded.rewards`,
    [chainId, beneficiaries, rows.map(([, row]) => row.solutions), rows.map(([, row]) => row.rewards)],
  );
  await tx.query("delete from mining_miners where chain_id = $1 and beneficiary = any($2) and solutions = 0", [chainId, beneficiaries]);
}

export type Miner = { address: string; solutions: number; rewards: bigint };

/** Who mined the most, by rewards. */
export async function readMiners(sql: Sql, chainId: number, limit: number): Promise<Miner[]> {
  const { rows } = await sql.query<Miner>(
    `select beneficiary as address, solutions, rewards from mining_miners where chain_id = $1
     order by rewards desc, beneficiary limit $2`,
    [chainId, limit],
  );
  return rows;
}

export type Epoch = {
  epoch: bigint;
  beneficiary: string;
  reward: bigint;
  digest: string;
  nonce: bigint;
  block: { number: number; timestamp: number };
  position: number;
};

/** Solutions that were paid, the newest first. `before` is the position of the last one of the page before. */
export async function readEpochs(sql: Sql, chainId: number, page: { limit: number; before: number | undefined }): Promise<Epoch[]> {
  const { rows } = await sql.query<Epoch>(
    `select epoch, beneficiary, reward, digest, nonce, position,
       json_build_object('number', block_number, 'timestamp', block_timestamp) as block
     from mining_epochs where chain_id = $1 and ($3::bigint is null or position < $3) order by position desc limit $2`,
    [chainId, page.limit, page.before ?? null],
  );
  return rows;
}

/** The target that holds: the latest one set. A digest at or below it is a solution, so a lower one is harder. */
export async function readTarget(sql: Sql, chainId: number): Promise<{ epoch: bigint; target: bigint } | undefined> {
  const { rows } = await sql.query<{ epoch: bigint; target: bigint }>(
    "select epoch, target from mining_targets where chain_id = $1 order by position desc limit 1",
    [chainId],
  );
  return rows[0];
}
