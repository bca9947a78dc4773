import { type App, defineApp, type JournalEvent, type Projection, type Task } from "../../listener/app.ts";
import { contracts } from "../../listener/dapp/contracts.ts";
import { app as dapp } from "../../listener/dapp/routes.ts";
import type { Tx } from "../../listener/db.ts";

/** The account that a registration or a transfer with a memo is of. */
const laneOf = ({
  arguments: { account, from },
}: { arguments: unknown } & JournalEvent<string, { account?: string; from?: string }>): string => account ?? from!;

/** Which events of a chain cannot be worked on at present. */
export const poison = new Map<number, (event: JournalEvent) => boolean>();
const check = (events: readonly JournalEvent[]) => {
  for (const event of events) if (poison.get(event.chainId)?.(event)) throw new Error(`event ${event.position} is poison`);
};

/** What was applied of each sender, one after the other; `disorder` keeps whatever came out of its turn. */
const lanes: Projection<JournalEvent> = {
  name: "lanes",
  tables: ["lanes"],
  migrations: [
    `create table lanes (chain_id bigint not null, key text not null, position bigint not null, primary key (chain_id, key, position));
     create table disorder (chain_id bigint not null, what text not null);`,
  ],
  async apply(tx, events) {
    check(events);
    for (const event of events) {
      await inTurn(tx, event, "apply");
      await tx.query("insert into lanes values ($1, $2, $3)", [event.chainId, laneOf(event as never), event.position]);
    }
  },
  async revert(tx, events) {
    for (const event of events) {
      await inTurn(tx, event, "revert");
      const { rowCount } = await tx.query("delete from lanes where chain_id = $1 and key = $2 and position = $3", [
        event.chainId,
        laneOf(event as never),
        event.position,
      ]);
      if (rowCount !== 1) await disorder(tx, event, "revert of what was not applied");
    }
  },
};

async function inTurn(tx: Tx, event: JournalEvent, operation: string): Promise<void> {
  const { rows } = await tx.query("select from lanes where chain_id = $1 and key = $2 and position > $3 limit 1", [
    event.chainId,
    laneOf(event as never),
    event.position,
  ]);
  if (rows.length > 0) await disorder(tx, event, `${operation} beneath a later one`);
}

const disorder = (tx: Tx, event: JournalEvent, what: string) =>
  tx.query("insert into disorder values ($1, $2)", [event.chainId, `${what}: event ${event.position}`]);

/** Batches that a poisoned event holds up, until they are taken apart. */
const tally: Projection<JournalEvent> = {
  name: "tally",
  tables: ["tally"],
  migrations: [`create table tally (chain_id bigint not null, position bigint not null, primary key (chain_id, position));`],
  async apply(tx, events) {
    check(events);
    await tx.query("insert into tally select $1, unnest($2::bigint[])", [events[0]!.chainId, events.map(event => event.position)]);
  },
  async revert(tx, events) {
    const { rowCount } = await tx.query("delete from tally where chain_id = $1 and position = any($2)", [
      events[0]!.chainId,
      events.map(event => event.position),
    ]);
    if (rowCount !== events.length) throw new Error("a revert of what was not applied");
  },
};

/** An effect outside: it may run more than once, under one key, and only for what is final. */
const payout: Task<JournalEvent> = {
  name: "payout",
  async run(event, { key, sql }) {
    check([event]);
    await sql.query(`insert into payouts values ($1, $2, $3, 1) on conflict (chain_id, key) do update set times = payouts.times + 1`, [
      event.chainId,
      key,
      event.position,
    ]);
  },
};

const extra = defineApp({
  contracts,
  routes: [
    {
      queue: "lanes",
      events: ["SluiceToken.TransferWithMemo", "SluiceToken.Registered"],
      projection: lanes as never,
      orderBy: event => laneOf(event as never),
      attempts: 3,
    },
    { queue: "tally", events: ["SluiceToken.Transfer", "SluiceToken.Minted"], projection: tally as never, batch: 20, attempts: 4 },
    { queue: "payout", events: ["SluiceToken.Minted"], task: payout as never, attempts: 3 },
  ],
});

/** The application as it is, and beside it an ordered queue, one whose batches fail, and a task. */
export const app: App = {
  ...dapp,
  routes: [...dapp.routes, ...extra.routes],
  projections: [...dapp.projections, ...extra.projections],
  migrations: [
    ...dapp.migrations,
    ...extra.migrations,
    {
      name: "payouts-1",
      sql: "create table payouts (chain_id bigint not null, key text not null, position bigint not null, times integer not null, primary key (chain_id, key))",
    },
  ],
};
