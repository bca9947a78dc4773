import assert from "node:assert/strict";
import { test } from "node:test";
import type { Worker } from "bullmq";
import type { App } from "../../../listener/app.ts";
import { type Db, openDb } from "../../../listener/db.ts";
import type { DeliveryJob, JobData, QueueBackend } from "../../../listener/queues/backend.ts";
import { startWorkers } from "../../../listener/worker/worker.ts";
import { addressOf, appOf, CHAIN, idle, openDatabases, silent, topicOf } from "../journal/journal-fixture.ts";

const open = await openDatabases();

/** The function that a queue's worker runs for the job of a delivery. */
function workOn(app: App, db: Db): (position: number) => Promise<void> {
  let run: (job: DeliveryJob) => Promise<void> = () => Promise.reject(new Error("no worker was opened"));
  const backend = {
    openWorker(_chainId: number, _queue: string, given: typeof run) {
      run = given;
      return { on() {}, close: async () => {} } as unknown as Worker<JobData>;
    },
  } as unknown as QueueBackend;
  startWorkers({ app, db, backend, chainId: CHAIN, log: silent });
  return position => run({ data: { chainId: CHAIN, queue: "q", position } } as DeliveryJob);
}

/** A journal with one event of One and one delivery of it, sent. */
async function deliver(db: Db, operation: string): Promise<void> {
  await db.query(
    `insert into events (chain_id, position, block_number, block_hash, block_timestamp, transaction_hash, transaction_index, log_index,
       address, contract, name, arguments, topics, data, seen_at)
     values ($1, 1, 1, 'a1', 1, 'tx1', 0, 0, $2, 'One', 'A', '{"value":"1"}', array[$3], '0x', now())`,
    [CHAIN, addressOf(1), topicOf("A")],
  );
  await db.query(
    `insert into deliveries (chain_id, queue, position, operation, events, first_event, last_event, state)
     values ($1, 'q', 1, $2, '{1}', 1, 1, 'sent')`,
    [CHAIN, operation],
  );
}

test("gives up a task whose receiver cannot be reached", async () => {
  const unreachable = Object.assign(new Error("connect ECONNREFUSED 192.0.2.1:443"), { code: "ECONNREFUSED" });
  const task = { name: "mail", run: () => Promise.reject(unreachable) };
  const app = appOf({ One: ["A"] }, [{ queue: "q", events: ["One.A"], task, attempts: 3 }]);
  const db = await open(app);
  await deliver(db, "run");
  const work = workOn(app, db);
  await assert.rejects(work(1));
  await assert.rejects(work(1));
  await work(1);
  const { rows } = await db.query("select state, attempts, last_error from deliveries");
  assert.equal(rows[0].state, "dead");
  assert.equal(rows[0].attempts, 3);
  assert.match(rows[0].last_error, /^connect ECONNREFUSED/);
});

test("takes a batch back without looking at all rows right after a long backfill, before Postgres has statistics", async t => {
  const app = appOf({ One: ["A"] }, [{ queue: "q", events: ["One.A"], projection: idle("q"), batch: 200 }]);
  const db = await open(app);
  const backfilled = 100_000;
  await db.query("alter table deliveries set (autovacuum_enabled = false)");
  await db.query(
    `insert into events (chain_id, position, block_number, block_hash, block_timestamp, transaction_hash, transaction_index, log_index,
       address, contract, name, arguments, topics, data, seen_at, live)
     select $1::bigint, i, i, 'a' || i, 1, 'tx', 0, 0, $2, 'One', 'A', '{"value":"1"}', array[$3], '0x', now(), i <= $4 - 200
     from generate_series(1, $4::int) as i`,
    [CHAIN, addressOf(1), topicOf("A"), backfilled],
  );
  await db.query(
    `insert into deliveries (chain_id, queue, position, operation, events, first_event, last_event, state)
     select $1::bigint, 'q', i, 'apply', array[i], i, i, 'done' from generate_series(1, $2::int) as i
     union all
     select $1::bigint, 'q', $2::int + 1, 'revert', (select array_agg(i order by i desc) from generate_series($2::int - 199, $2) as i), $2 - 199, $2::int, 'sent'`,
    [CHAIN, backfilled],
  );
  // One connection, which can be told to hand in what it has counted.
  const one = openDb(db.options.connectionString!, { max: 1 });
  t.after(() => one.end());
  const looks = async (): Promise<{ rows: number; found: number }> => {
    await one.query("select pg_stat_force_next_flush()");
    const { rows } = await one.query(
      `select sum(seq_tup_read)::bigint as rows, sum(idx_tup_fetch)::bigint as found from pg_stat_user_tables where relname in ('deliveries', 'events')`,
    );
    return rows[0];
  };
  const before = await looks();
  await workOn(app, one)(backfilled + 1);
  const after = await looks();
  const { rows } = await db.query("select state from deliveries where operation = 'revert'");
  assert.equal(rows[0].state, "done");
  const looked = after.rows - before.rows + after.found - before.found;
  assert.ok(looked < backfilled / 10, `${looked} rows`);
});
