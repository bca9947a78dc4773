import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { cleanText, isDbOutage, migrate, openDb, sleep, transaction, waitForDb } from "../../listener/db.ts";
import { SluiceError } from "../../listener/errors.ts";
import { JOURNAL_MIGRATIONS } from "../../listener/journal/schema.ts";
import { openTestDatabase } from "../support/database.ts";
import { freePort } from "../support/ports.ts";
import { silent } from "../support/silent.ts";

describe("database", () => {
  it("does not wait for a moment that is past, and warns of nothing", async () => {
    const warnings: string[] = [];
    const hear = ({ name }: Error) => void warnings.push(name);
    process.on("warning", hear);
    await sleep(-0.54);
    // A warning is told on a later turn.
    await sleep(1);
    process.off("warning", hear);
    assert.deepEqual(warnings, []);
  });

  it("runs each migration once when several processes start at the same time", async () => {
    await using base = await openTestDatabase([]);
    const pools = Array.from({ length: 6 }, () => openDb(base.url));
    const ran = await Promise.all(pools.map(pool => migrate(pool, JOURNAL_MIGRATIONS)));
    await Promise.all(pools.map(pool => pool.end()));
    assert.deepEqual(
      ran.flat(),
      JOURNAL_MIGRATIONS.map(({ name }) => name),
    );
  });

  it("runs what is new, and nothing of a migration that fails", async () => {
    await using base = await openTestDatabase([{ name: "one", sql: "create table one ()" }]);
    const second = { name: "two", sql: "create table two (); create table one ();" };
    await assert.rejects(migrate(base.db, [{ name: "one", sql: "never run again" }, second]), /already exists/);
    assert.deepEqual(await migrate(base.db, [{ ...second, sql: "create table two ()" }]), ["two"]);
  });

  it("rolls everything back when the work throws, and keeps the connection", async () => {
    await using base = await openTestDatabase([{ name: "one", sql: "create table one (n integer)" }]);
    await assert.rejects(
      transaction(base.db, async tx => {
        await tx.query("insert into one values (1)");
        throw new Error("changed my mind");
      }),
      /changed my mind/,
    );
    assert.equal((await base.db.query("select from one")).rowCount, 0);
    assert.equal(base.db.totalCount, base.db.idleCount);
  });

  it("survives its connection being killed inside a transaction, and calls that an outage", async () => {
    await using base = await openTestDatabase([]);
    const error = await transaction(base.db, async tx => {
      const { rows } = await tx.query("select pg_backend_pid() as pid");
      await base.db.query("select pg_terminate_backend($1)", [rows[0].pid]);
      await tx.query("select 1");
    }).catch(thrown => thrown as Error);
    assert.ok(isDbOutage(error), String(error));
    assert.equal((await base.db.query("select 1 as one")).rows[0].one, 1);
  });

  it("takes the locks from a transaction that stands still, as that of a process that was stopped does", async () => {
    await using base = await openTestDatabase([{ name: "one", sql: "create table one (n integer); insert into one values (1)" }]);
    const locked = Promise.withResolvers<void>();
    const taken = Promise.withResolvers<void>();
    const standing = transaction(base.db, async tx => {
      await tx.query("update one set n = 2");
      locked.resolve();
      await taken.promise;
      await tx.query("update one set n = 3");
    });
    standing.catch(() => {});
    await locked.promise;
    await base.db.query("update one set n = n + 10");
    taken.resolve();
    assert.ok(isDbOutage(await standing.catch(error => error)));
    assert.equal((await base.db.query("select n from one")).rows[0].n, 11);
  });

  it("reads amounts as bigint and positions as numbers", async () => {
    await using base = await openTestDatabase([]);
    const { rows } = await base.db.query(
      "select 115792089237316195423570985008687907853269984665640564039457584007913129639935::numeric as a, 7::bigint as b, array[1,2]::bigint[] as c, array[]::bigint[] as d",
    );
    assert.deepEqual(rows, [{ a: 2n ** 256n - 1n, b: 7, c: [1, 2], d: [] }]);
  });

  it("tells an outage from a mistake", async () => {
    await using base = await openTestDatabase([]);
    const refused = await openDb(`postgres://127.0.0.1:${await freePort()}/x`)
      .query("select 1")
      .catch(thrown => thrown as Error);
    assert.ok(isDbOutage(refused));
    for (const wrong of ["select nothing", "select 1/0", "selekt"]) {
      assert.equal(isDbOutage(await base.db.query(wrong).catch(thrown => thrown as Error)), false, wrong);
    }
  });

  it("does not wait for a server that refuses us", async () => {
    await using base = await openTestDatabase([]);
    const url = new URL(base.url);
    url.password = "wrong";
    const pool = openDb(url.href);
    await assert.rejects(waitForDb(pool, silent, new AbortController().signal), SluiceError);
    await pool.end();
  });

  it("gives up a connection whose prepared statement means a table that has changed", async t => {
    await using base = await openTestDatabase([]);
    const pool = openDb(base.url, { max: 1 });
    t.after(() => pool.end());
    await pool.query("create table public.things (a int)");
    const read = () =>
      transaction(pool, async tx => (await tx.query({ name: "read", text: "select * from public.things", values: [] })).fields.length);
    assert.equal(await read(), 1);
    await base.db.query("alter table public.things add column b int");
    await assert.rejects(read(), { code: "0A000" });
    assert.equal(await read(), 2);
  });

  it("prepares what has a name, unless it is told not to", async t => {
    await using base = await openTestDatabase([]);
    for (const prepare of [true, false]) {
      const pool = openDb(base.url, { max: 1, prepare });
      t.after(() => pool.end());
      const { rows } = await pool.query<{ sum: number }>({ name: "sum", text: "select $1::int + 1 as sum", values: [1] });
      assert.equal(rows[0]!.sum, 2);
      const named = await transaction(pool, tx => tx.query("select from pg_prepared_statements"));
      assert.equal(named.rowCount, prepare ? 1 : 0);
    }
  });

  it("makes any text one that Postgres takes, and changes no other", async () => {
    await using base = await openTestDatabase([]);
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "binary" }), async text => {
        const clean = cleanText(text);
        assert.equal((await base.db.query("select $1::text as text", [clean])).rows[0].text, clean);
        if (text.isWellFormed() && !text.includes("\0")) assert.equal(clean, text);
      }),
      { numRuns: 200 },
    );
  });
});
