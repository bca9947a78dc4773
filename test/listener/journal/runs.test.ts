import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { describe, it } from "node:test";
import type { Hex, Log } from "../../../listener/chain/types.ts";
import { type Db, migrate, transaction } from "../../../listener/db.ts";
import { copyRows, startRows } from "../../../listener/journal/copy-rows.ts";
import { eventsOfTransaction, liveEventOf, MAX_RUN } from "../../../listener/journal/runs.ts";
import { JOURNAL_MIGRATIONS } from "../../../listener/journal/schema.ts";
import { randomFrom } from "../../../scripts/support/random.ts";
import { openTestDatabase } from "../../support/database.ts";

const CHAIN = 7;
const hash = (kind: string, n: number): Hex => `0x${kind}${n.toString(16).padStart(63, "0")}`;
const names = ["One", "Two", "Three"];

/** A log by its place; `name`: which of the names. */
const logAt = ({ block, transaction, index, name }: { block: number; transaction: number; index: number; name: number }): Log => ({
  blockNumber: block,
  blockHash: hash("b", block),
  blockTimestamp: 1_000 + block,
  transactionHash: hash("c", transaction),
  transactionIndex: 0,
  logIndex: index,
  address: `0x${"ab".repeat(20)}`,
  topics: [hash("d", name)],
  data: "0x",
});

const decodedAs = (log: Log) => ({ contract: "Token", name: names[Number(log.topics[0]!.slice(3))]!, arguments: {}, error: undefined });

async function store(db: Db, first: number, logs: readonly Log[]): Promise<void> {
  const rows = startRows(logs, { chainId: CHAIN, epoch: 1, seenAt: new Date(0) });
  for (const log of logs) rows.add({ log, decoded: decodedAs(log) });
  await transaction(db, tx => copyRows(tx, rows.end(), first));
}

/** Whether every event is found by its id, its transaction and its name, and in the order of the journal. */
async function assertFound(db: Db): Promise<void> {
  type Row = { position: number; block_hash: Hex; log_index: number; transaction_hash: Hex; name: string; live: boolean };
  const { rows } = await db.query<Row>("select * from events where chain_id = $1 order by position", [CHAIN]);
  const positions = async (sql: string, values: unknown[]) => (await db.query<Row>(sql, values)).rows.map(({ position }) => position);
  for (const { block_hash, log_index, live, position } of rows) {
    const found = await positions(`select position from ${liveEventOf("$1", "$2", "$3::integer")} e`, [CHAIN, block_hash, log_index]);
    const expected = live ? [position] : [];
    assert.deepEqual(found, expected);
  }
  for (const [transaction, own] of Map.groupBy(rows, row => row.transaction_hash)) {
    const sql = `select position from ${eventsOfTransaction("$1", "$2")} e order by position`;
    assert.deepEqual(
      await positions(sql, [CHAIN, transaction]),
      own.map(({ position }) => position),
    );
  }
  for (const [name, own] of Map.groupBy(rows, row => row.name)) {
    const sql =
      "select position from named_events where chain_id = $1 and contract = 'Token' and name = $2 order by run desc, position desc";
    assert.deepEqual(await positions(sql, [CHAIN, name]), own.map(({ position }) => position).reverse());
  }
}

describe("runs of events", () => {
  const seed = Number(process.env.SEED ?? randomInt(1, 2 ** 31));
  it(`finds every event, however they share blocks, transactions and names (SEED=${seed})`, async () => {
    const { below: under } = randomFrom(seed);
    await using database = await openTestDatabase();
    const { db } = database;
    // Those of even index first, as if the others' contract had come later: their runs lie across each other.
    const all: Log[] = [];
    let [transaction, name] = [0, 0];
    for (let block = 1; block <= 6; block++) {
      const count = 1 + under(2.5 * MAX_RUN);
      for (let index = 0; index < count; index++) {
        if (index === 0 || under(20) === 0) transaction += 1;
        if (under(10) === 0) name = under(names.length);
        all.push(logAt({ block, transaction, index, name }));
      }
    }
    const early = all.filter(log => log.logIndex % 2 === 0 || log.logIndex > MAX_RUN);
    const late = all.filter(log => !early.includes(log));
    await store(db, 1, early);
    await store(db, early.length + 1, late);
    await db.query("update events set live = false where block_number = 3");
    await assertFound(db);
    const { rows } = await db.query("select max(of_block) as longest, count(of_name)::int as runs from events");
    assert.equal(rows[0].longest, MAX_RUN);
    assert.ok(rows[0].runs < all.length, "no events share a run");
  });

  it("refuses the same blocks twice", async () => {
    await using database = await openTestDatabase();
    const logs = [0, 1, 2].map(index => logAt({ block: 1, transaction: 1, index, name: 0 }));
    await store(database.db, 1, logs);
    await assert.rejects(store(database.db, 4, logs), { code: "23505" });
  });

  it("finds what was stored before there were runs", async () => {
    const before = JOURNAL_MIGRATIONS.slice(
      0,
      JOURNAL_MIGRATIONS.findIndex(({ name }) => name === "journal-4"),
    );
    await using database = await openTestDatabase(before);
    const { db } = database;
    await db.query(
      `insert into events (chain_id, position, block_number, block_hash, block_timestamp, transaction_hash, transaction_index, log_index,
         address, contract, name, arguments, topics, data, live, seen_at)
       select $1, i, 1 + i / 10, '0xb' || 1 + i / 10, 1000, '0xc' || i / 3, 0, i % 10, '0xab', 'Token', 'One', '{}', '{}', '0x', i < 15, now()
       from generate_series(1, 30) i`,
      [CHAIN],
    );
    assert.deepEqual(await migrate(db, JOURNAL_MIGRATIONS), ["journal-4"]);
    await assertFound(db);
    await store(db, 31, [logAt({ block: 9, transaction: 1, index: 0, name: 0 }), logAt({ block: 9, transaction: 1, index: 1, name: 0 })]);
    await assertFound(db);
  });
});
