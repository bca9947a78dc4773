import assert from "node:assert/strict";
import { once } from "node:events";
import { afterEach, beforeEach, describe, it } from "node:test";
import { from as copyFrom } from "pg-copy-streams";
import { acquireLease, type Lease } from "../../../listener/journal/lease.ts";
import { eventually } from "../../support/eventually.ts";
import { openTestJournal, rowsOf } from "../../support/journal.ts";
import { ledger, ledgerRoute, meterApp } from "../../support/meter.ts";
import { silent } from "../../support/silent.ts";

describe("lease", () => {
  let base: Awaited<ReturnType<typeof openTestJournal>>;
  let end: AbortController;
  const held: Lease[] = [];
  beforeEach(async () => {
    base = await openTestJournal(meterApp(ledgerRoute(ledger())));
    end = new AbortController();
  });
  afterEach(async () => {
    end.abort();
    for (const lease of held.splice(0)) await lease.release();
    await base.close();
  });

  const acquire = async (writer: string, duration = 60_000, signal = end.signal) => {
    const lease = await acquireLease({ db: base.db, chainId: base.chainId, writer, duration, log: silent, signal });
    held.push(lease);
    return lease;
  };
  const state = async () =>
    (
      await rowsOf(
        base.db,
        base.chainId,
        "select writer, epoch, lease_until > clock_timestamp() as held from checkpoint where chain_id = $1",
      )
    )[0];
  const expire = () =>
    base.db.query("update checkpoint set lease_until = clock_timestamp() - interval '1 ms' where chain_id = $1", [base.chainId]);

  it("goes to the first who asks, with a new epoch", async () => {
    const { epoch } = await acquire("one");
    assert.equal(epoch, 1);
    assert.deepEqual(await state(), { writer: "one", epoch: 1, held: true });
  });

  it("goes to one of many who ask at once, and the others wait", async () => {
    const short = new AbortController();
    const asked = ["one", "two", "three"].map(writer => acquire(writer, 60_000, short.signal));
    const first = await Promise.race(asked);
    assert.equal(first.epoch, 1);
    assert.equal((await state())!.epoch, 1);
    short.abort();
    await Promise.allSettled(asked);
  });

  it("goes to the next at once when it is given back", async () => {
    const one = await acquire("one");
    const waiting = acquire("two", 300);
    await one.release();
    assert.equal((await waiting).epoch, 2);
  });

  it("goes to the next when it ran out by the database's clock", async () => {
    await acquire("one");
    await expire();
    const two = await acquire("two", 300);
    assert.equal(two.epoch, 2);
    assert.equal((await state())!.writer, "two");
  });

  it("goes to the next although the holder was stopped in the middle of a COPY, with its locks", async () => {
    await acquire("one");
    await expire();
    const stopped = await base.db.connect();
    const ended = once(stopped, "error");
    const { rows } = await stopped.query("select pg_backend_pid() as pid");
    await stopped.query("begin; update checkpoint set updated_at = now()");
    const copy = stopped.query(copyFrom("copy blocks (chain_id, number, hash, parent_hash, timestamp) from stdin"));
    copy.on("error", () => {});
    const waits = "select from pg_stat_activity where pid = $1 and state = 'active' and wait_event = 'ClientRead'";
    await eventually(async () => (await base.db.query(waits, [rows[0].pid])).rowCount === 1, { what: "Postgres waits for rows" });
    assert.equal((await acquire("two", 300)).epoch, 2);
    await ended;
    stopped.release(true);
  });

  it("is not taken while the holder renews it", async () => {
    // Long enough that a busy machine renews it in time: this is about who gets it, not about how fast.
    const one = await acquire("one", 6_000);
    const waiting = acquire("two", 6_000);
    const until = async () =>
      (await rowsOf<{ until: Date }>(base.db, base.chainId, "select lease_until as until from checkpoint where chain_id = $1"))[0]!.until;
    const first = await until();
    await eventually(async () => Number(await until()) > Number(first), { timeout: 30_000 });
    assert.equal((await state())!.writer, "one");
    assert.equal(one.lost.aborted, false);
    await one.release();
    await waiting;
    assert.equal((await state())!.writer, "two");
  });

  it("tells a holder who was overtaken, and does not let it renew", async () => {
    const one = await acquire("one", 300);
    await base.db.query(
      "update checkpoint set epoch = 7, writer = 'two', lease_until = clock_timestamp() + interval '1 hour' where chain_id = $1",
      [base.chainId],
    );
    if (!one.lost.aborted) await once(one.lost, "abort");
    assert.deepEqual(await state(), { writer: "two", epoch: 7, held: true });
    await one.release();
    assert.deepEqual(await state(), { writer: "two", epoch: 7, held: true }, "giving back an old lease takes nothing away");
  });

  it("keeps a lease that ran out while nobody took over", async () => {
    const one = await acquire("one", 300);
    await expire();
    const renewed = await eventually(async () => [await state()].find(now => now!.held));
    assert.deepEqual(renewed, { writer: "one", epoch: one.epoch, held: true });
    assert.equal(one.lost.aborted, false);
  });

  it("asks nothing of this machine's clock", async t => {
    t.mock.timers.enable({ apis: ["Date"], now: Date.now() + 86_400_000 });
    await acquire("a day ahead");
    const short = new AbortController();
    t.mock.timers.setTime(0);
    const waiting = acquire("decades behind", 300, short.signal);
    waiting.catch(() => {});
    await eventually(async () => (await state())!.writer === "a day ahead");
    const { until } = (
      await rowsOf<{ until: number }>(
        base.db,
        base.chainId,
        "select extract(epoch from lease_until - clock_timestamp())::float8 as until from checkpoint where chain_id = $1",
      )
    )[0]!;
    assert.ok(until > 0 && until <= 60, `it holds for ${until} s`);
    await expire();
    assert.equal((await waiting).epoch, 2);
    short.abort();
  });

  it("stops waiting when it is told to", async () => {
    await acquire("one");
    const short = new AbortController();
    const waiting = acquire("two", 600_000, short.signal);
    short.abort();
    await assert.rejects(waiting, { name: "AbortError" });
  });
});
