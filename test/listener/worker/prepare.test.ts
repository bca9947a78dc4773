import assert from "node:assert/strict";
import { it } from "node:test";
import { openDb, transaction } from "../../../listener/db.ts";
import { preparing } from "../../../listener/worker/prepare.ts";
import { openTestDatabase } from "../../support/database.ts";

it("prepares the statements of few events, and those alone", async t => {
  await using base = await openTestDatabase([]);
  const pool = openDb(base.url, { max: 1 });
  t.after(() => pool.end());
  const prepared = async () => (await pool.query<{ text: string }>("select statement as text from pg_prepared_statements")).rows;
  const add = "select $1::int + $2::int as sum";
  for (let i = 0; i < 10; i++) {
    const sum = await transaction(pool, async tx => {
      await preparing(tx).query("select 1");
      return (await preparing(tx).query<{ sum: number }>(add, [i, 1])).rows[0]!.sum;
    });
    assert.equal(sum, i + 1);
  }
  assert.deepEqual(await prepared(), [{ text: add }]);
  await transaction(pool, tx => tx.query("select $1::int - $2::int", [1, 1]));
  assert.equal((await prepared()).length, 1);
});
