import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { PEOPLE, personAt, seedJournal } from "../../../bench/api-seed.ts";
import { type Db, openDb } from "../../../listener/db.ts";
import { apiOf, CHAIN, openTestDb } from "./support.ts";

/** So many events that a statement which reads them all stands out. */
const EVENTS = 20_000;
/** Rows that a read may look at, in tables and in indexes together: some pages, and the counts behind a chart. */
const ROWS = 8_000;

describe("reads of a long journal", () => {
  let database: Awaited<ReturnType<typeof openTestDb>>;
  let one: Db;
  let api: Awaited<ReturnType<typeof apiOf>>;

  before(async () => {
    database = await openTestDb();
    await seedJournal(database.db, CHAIN, EVENTS);
    // One connection, which can be told to hand in what it has counted. It pipelines, as that of `serve` does.
    one = openDb(database.url, { max: 1, pipeline: true });
    api = await apiOf(one);
  });
  after(async () => {
    await api?.close();
    await one?.end();
    await database?.close();
  });

  const rowsRead = async (): Promise<number> => {
    await one.query("select pg_stat_force_next_flush()");
    const { rows } = await one.query<{ read: number }>(
      `select (select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) from pg_stat_user_tables where schemaname = 'sluice')::bigint
         + (select sum(idx_tup_read) from pg_stat_user_indexes where schemaname = 'sluice')::bigint as read`,
    );
    return rows[0]!.read;
  };

  it("none of them looks at all of it", async () => {
    const { items } = (await api.inject("/api/v1/events?limit=100")).json();
    const event = items[50];
    const person = personAt(PEOPLE / 2);
    const middle = Buffer.from(JSON.stringify([1, "events", EVENTS / 2])).toString("base64url");
    const blocks = "fromBlock=100&toBlock=101";
    const paths = [
      ...["status", "statistics", "queues", "mining", "mining/epochs", "dead-letters", "webhooks", "blocks", "blocks/100", "accounts"],
      ...["activity?window=15m", "statistics/series?metric=volume&resolution=hour", "transfers", `transfers?${blocks}`],
      ...["events", `events?cursor=${middle}`, "events?name=Transfer", "events?name=Minted", "events?contract=Nothing"],
      ...["status=finalized", "status=included", "status=orphaned", "status=undecodable", blocks].map(filter => `events?${filter}`),
      ...[`events/${event.id}`, `transactions/${event.transactionHash}`, `events?transaction=${event.transactionHash}`],
      ...["", "/transfers", "/history"].map(part => `accounts/${person}${part}`),
      ...[`transfers?from=${person}`, `transfers?to=${person}&${blocks}`],
      ...["", "&state=pending", "&state=dead"].map(state => `deliveries?queue=balances${state}`),
    ];
    const far: string[] = [];
    for (const path of paths) {
      const before = await rowsRead();
      const { statusCode, body } = await api.inject(`/api/v1/${path}`);
      assert.equal(statusCode, 200, `${path}: ${body}`);
      const read = (await rowsRead()) - before;
      if (read > ROWS) far.push(`${path}: ${read} rows`);
    }
    assert.deepEqual(far, []);
  });
});
