import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { z } from "zod";
import { read, snapshot } from "../../../listener/api/read.ts";
import { type Db, openDb, sleep } from "../../../listener/db.ts";
import { eventually } from "../../support/eventually.ts";
import { account, apiOf, ask, createWorld, openTestDb, registered } from "./support.ts";

describe("a read", () => {
  let database: Awaited<ReturnType<typeof openTestDb>>;
  let pipelined: Db;

  before(async () => {
    database = await openTestDb();
    pipelined = openDb(database.url, { max: 3, pipeline: true });
  });
  after(async () => {
    await pipelined?.end();
    await database?.close();
  });

  /** Counts how often it was asked, and fails the first time where it is told to. */
  const counting = (holds: number, failures = 0) => {
    const asked = { times: 0 };
    const held = read({
      path: "held",
      tag: "x",
      summary: "counts",
      query: z.strictObject({ of: z.string().optional() }),
      response: z.object({ of: z.string().nullable(), times: z.int() }),
      holds,
      async handle({ sql, query }) {
        asked.times += 1;
        await sql.query("select 1");
        if (asked.times <= failures) throw new Error("not this time");
        return { of: query.of ?? null, times: asked.times };
      },
    });
    return { asked, held };
  };

  it("that holds for a while is made once for all who ask the same meanwhile, and then anew", async () => {
    const { asked, held } = counting(500);
    const api = await apiOf(pipelined, { more: [held] });
    const questions = ["held", "held?of=a", "held", "held?of=a", "held?of=b"];
    const answers = await Promise.all(questions.map(question => ask(api, question)));
    assert.deepEqual(
      answers.map(({ of }) => of),
      [null, "a", null, "a", "b"],
    );
    assert.equal(asked.times, 3);
    await eventually(async () => (await ask(api, "held")).times === 4, { timeout: 3_000 });
    await api.close();
  });

  it("that holds for a while is told to nobody who may not read, and says what is wrong with a question", async () => {
    const { asked, held } = counting(60_000);
    const api = await apiOf(pipelined, { more: [held] });
    await ask(api, "held");
    assert.equal((await api.inject({ url: "/api/v1/held", headers: { authorization: "Bearer wrong" } })).statusCode, 401);
    assert.equal((await api.inject({ url: "/api/v1/held?for=me" })).statusCode, 400);
    const { headers, body } = await api.inject("/api/v1/held");
    assert.deepEqual(
      [headers["content-type"], headers["cache-control"], JSON.parse(body)],
      ["application/json; charset=utf-8", "no-store", { of: null, times: 1 }],
    );
    assert.equal(asked.times, 1);
    await api.close();
  });

  it("does not hold a failure", async () => {
    const { held } = counting(60_000, 1);
    const api = await apiOf(pipelined, { more: [held] });
    await ask(api, "held", 500);
    assert.equal((await ask(api, "held")).times, 2);
    await api.close();
  });

  it("is of one moment, writes nothing and gives its connection back, also where a statement fails", async () => {
    const world = await createWorld(database.db);
    const count = "select count(*)::int as count from events";
    for (const db of [database.db, pipelined]) {
      const counts = await snapshot(db, async sql => {
        const before = await sql.query(count);
        await world.extend([registered(account(1), "a")]);
        return [before, await sql.query(count)].map(({ rows }) => rows[0].count);
      });
      assert.equal(counts[0], counts[1]);
      await assert.rejects(
        snapshot(db, sql => sql.query("delete from events")),
        { code: "25006" },
      );
      await assert.rejects(
        snapshot(db, sql => sql.query("select 1 / 0")),
        { code: "22012" },
      );
      await Promise.all(Array.from({ length: 20 }, () => snapshot(db, async sql => sleep(1).then(() => sql.query(count)))));
      assert.equal((await db.query(count)).rows[0].count, counts[1] + 1);
      const { rows } = await db.query("show transaction_read_only");
      assert.equal(rows[0].transaction_read_only, "off");
    }
  });
});
