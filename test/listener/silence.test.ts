import assert from "node:assert/strict";
import { describe, it } from "node:test";
import pg from "pg";
import { type Db, isDbOutage, openDb, transaction } from "../../listener/db.ts";
import { watchSilence } from "../../listener/silence.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { silent } from "../support/silent.ts";
import { openTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";

/** In which Postgres answers on a new connection, however busy the machine is (ms). */
const ENOUGH = 1_500;

async function withPool(within: number, work: (site: { base: TestDatabase; proxy: TcpProxy; db: Db }) => Promise<void>): Promise<void> {
  await using base = await openTestDatabase([]);
  const proxy = await openTcpProxy(base.url);
  const db = openDb(proxy.through(base.url), { name: "watched" });
  const end = watchSilence(db, { log: silent, every: 50, within });
  try {
    await work({ base, proxy, db });
  } finally {
    end();
    proxy.reset();
    await db.end();
    await proxy.close();
  }
}

describe("a Postgres that goes silent", () => {
  it("ends the statement that waits for it, as an outage, and goes on when it is back", () =>
    withPool(200, async ({ proxy, db }) => {
      const stood = await transaction(db, async tx => {
        proxy.blackhole(true);
        await tx.query("select 1");
      }).catch(thrown => thrown as Error);
      assert.ok(isDbOutage(stood), String(stood));
      proxy.blackhole(false);
      await eventually(() => db.query("select 1"));
    }));

  it("leaves a statement alone that takes its time while Postgres answers others", () =>
    withPool(ENOUGH, async ({ db }) => {
      const { rows } = await db.query("select 1 as n from pg_sleep($1)", [(2.2 * ENOUGH) / 1_000]);
      assert.equal(rows.length, 1);
    }));

  it("leaves a statement alone while Postgres has no connection left for the question", () =>
    withPool(ENOUGH, async ({ base, db }) => {
      const name = new URL(base.url).pathname.slice(1);
      const elsewhere = new URL(base.url);
      elsewhere.pathname = "/postgres";
      const other = new pg.Client({ connectionString: elsewhere.href });
      await other.connect();
      const sleeping = db.query("select 1 as n from pg_sleep($1)", [(2.2 * ENOUGH) / 1_000]);
      await eventually(async () => (await other.query("select from pg_stat_activity where application_name = 'watched'")).rowCount === 1);
      await other.query(`alter database ${name} connection limit 0`);
      assert.equal((await sleeping).rowCount, 1);
      await other.query(`alter database ${name} connection limit -1`);
      await other.end();
    }));
});
