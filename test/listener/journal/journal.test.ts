import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import type { ChainUpdate } from "../../../listener/chain/types.ts";
import { LeaseLostError } from "../../../listener/errors.ts";
import { openTestJournal, rowsOf } from "../../support/journal.ts";
import { account, added, ledger, ledgerRoute, meterApp, named, taskRoute, truncated } from "../../support/meter.ts";
import { hashOf, nameOf, scriptedChain } from "../../support/scripted-chain.ts";

const app = meterApp(
  ledgerRoute(ledger(), { batch: 2 }),
  taskRoute(async () => {}),
);

describe("journal", () => {
  let base: Awaited<ReturnType<typeof openTestJournal>>;
  beforeEach(async () => {
    base = await openTestJournal(app);
    await base.journal.checkpoint();
  });
  afterEach(() => base.close());

  const rows = <R = Record<string, unknown>>(query: string) => rowsOf<R>(base.db, base.chainId, query);
  const blocks = async () =>
    (await rows<{ hash: string }>("select hash from blocks where chain_id = $1 order by number")).map(b => nameOf(b.hash));
  const events = () =>
    rows("select position, block_number, log_index, name, live, error from events where chain_id = $1 order by position");
  const deliveries = async (queue: string) =>
    (
      await rows<{ position: number; operation: string; events: number[]; state: string; queue: string }>(
        "select queue, position, operation, events, state from deliveries where chain_id = $1 order by position",
      )
    )
      .filter(row => row.queue === queue)
      .map(row => `${row.position} ${row.operation} ${row.events.join(",")}${row.state === "pending" ? "" : ` ${row.state}`}`);
  /** Everything, to see that nothing changed. */
  const everything = async () => ({
    checkpoint: await rows("select * from checkpoint where chain_id = $1"),
    blocks: await blocks(),
    events: await events(),
    queues: await rows("select * from queues where chain_id = $1 order by queue"),
    deliveries: [await deliveries("ledger"), await deliveries("tasks")],
  });

  it("commits blocks, events, checkpoint and deliveries of an update together", async () => {
    const chain = scriptedChain("a1 a2")
      .logs("a1", [added(1, 10), added(2, 5)])
      .logs("a2", [added(1, 7)]);
    const recorded = await base.journal.record(chain.extend("a1 a2"));
    assert.deepEqual(recorded.deliveries, { ledger: 2 });
    assert.deepEqual(await blocks(), ["a1", "a2"]);
    assert.deepEqual(
      (await events()).map(e => [e.position, e.block_number, e.log_index, e.name]),
      [
        [1, 1, 0, "Added"],
        [2, 1, 1, "Added"],
        [3, 2, 0, "Added"],
      ],
    );
    assert.deepEqual(await deliveries("ledger"), ["1 apply 1,2", "2 apply 3"]);
    assert.deepEqual(await rows("select tip_number, events, head_number from checkpoint where chain_id = $1"), [
      { tip_number: 2, events: 3, head_number: 2 },
    ]);
  });

  it("commits nothing at all of an update that fails half-way", async () => {
    const chain = scriptedChain("a1 a2")
      .logs("a1", [added(1, 1)])
      .logs("a2", [added(1, 1)]);
    await base.journal.record(chain.extend("a1"));
    const before = await everything();
    await base.db.query("alter table deliveries add constraint full_up check (position < 2) not valid");
    await assert.rejects(base.journal.record(chain.extend("a2")), /full_up/);
    assert.deepEqual(await everything(), before);
    await base.db.query("alter table deliveries drop constraint full_up");
    await base.journal.record(chain.extend("a2"));
    assert.deepEqual(await blocks(), ["a1", "a2"]);
  });

  it("refuses a writer whose tip is not the journal's, although its epoch holds", async () => {
    const chain = scriptedChain("a1 a2").logs("a2", [added(1, 1)]);
    const other = base.writer(0);
    await other.checkpoint();
    await base.journal.record(chain.extend("a1"));
    const before = await everything();
    await assert.rejects(other.record(chain.extend("a1")), LeaseLostError);
    await assert.rejects(other.record({ type: "reorg", ancestor: chain.ref("a1"), removed: [] }), LeaseLostError);
    await assert.rejects(other.record(chain.finalize("a1")), LeaseLostError);
    assert.deepEqual(await everything(), before);
    await other.checkpoint();
    await other.record(chain.extend("a2"));
  });

  it("refuses a writer of an earlier epoch, although its tip holds", async () => {
    const chain = scriptedChain("a1 a2");
    await base.journal.record(chain.extend("a1"));
    await base.db.query("update checkpoint set epoch = 1 where chain_id = $1", [base.chainId]);
    const before = await everything();
    for (const update of [chain.extend("a2"), chain.finalize("a1"), { type: "reorg", ancestor: undefined, removed: [chain.ref("a1")] }]) {
      await assert.rejects(base.journal.record(update as ChainUpdate), LeaseLostError);
    }
    assert.deepEqual(await everything(), before);
    const next = base.writer(1);
    await next.checkpoint();
    await next.record(chain.extend("a2"));
  });

  it("lets one of two writers win that write the same update at the same time", async () => {
    const chain = scriptedChain("a1").logs("a1", [added(1, 1)]);
    const writers = Array.from({ length: 4 }, () => base.writer(0));
    for (const writer of writers) await writer.checkpoint();
    const outcomes = await Promise.allSettled(writers.map(writer => writer.record(chain.extend("a1"))));
    assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
    assert.deepEqual(await deliveries("ledger"), ["1 apply 1"]);
  });

  it("reverts what a reorg took, newest first, and keeps the rows", async () => {
    const chain = scriptedChain("a1 a2 a3")
      .logs("a1", [added(1, 1)])
      .logs("a2", [added(1, 2)])
      .logs("a3", [added(1, 3), added(2, 4)]);
    await base.journal.record(chain.extend("a1 a2 a3"));
    const { orphaned } = await base.journal.record(chain.reorg("a1", "a3 a2"));
    assert.deepEqual(
      orphaned.map(({ position }) => position),
      [4, 3, 2],
    );
    assert.deepEqual(await blocks(), ["a1"]);
    assert.deepEqual(
      (await events()).map(({ live }) => live),
      [true, false, false, false],
    );
    assert.deepEqual(await deliveries("ledger"), ["1 apply 1,2", "2 apply 3,4", "3 revert 4,3", "4 revert 2"]);
    assert.deepEqual(await rows("select tip_number, tip_hash, reorgs from checkpoint where chain_id = $1"), [
      { tip_number: 1, tip_hash: hashOf("a1"), reorgs: 1 },
    ]);
  });

  it("gives an event that comes back with its block (A, B, A) a new row", async () => {
    const chain = scriptedChain("a1 a2")
      .logs("a2", [added(1, 1)])
      .forkAt("a1", "b2")
      .logs("b2", [added(2, 2)]);
    await base.journal.record(chain.extend("a1 a2"));
    await base.journal.record(chain.reorg("a1", "a2"));
    await base.journal.record(chain.extend("b2"));
    await base.journal.record(chain.reorg("a1", "b2"));
    await base.journal.record(chain.extend("a2"));
    assert.deepEqual(
      (await rows<{ block_hash: string; live: boolean }>("select block_hash, live from events where chain_id = $1 order by position")).map(
        e => `${nameOf(e.block_hash)} ${e.live}`,
      ),
      ["a2 false", "b2 false", "a2 true"],
    );
    assert.deepEqual(await deliveries("ledger"), ["1 apply 1", "2 revert 1", "3 apply 2", "4 revert 2", "5 apply 3"]);
  });

  it("goes back to before its first block", async () => {
    const chain = scriptedChain("a1")
      .logs("a1", [added(1, 1)])
      .forkAt("", "b1");
    await base.journal.record(chain.extend("a1"));
    await base.journal.record(chain.reorg("", "a1"));
    assert.deepEqual(await blocks(), []);
    await base.journal.record(chain.extend("b1"));
    assert.deepEqual(await blocks(), ["b1"]);
  });

  it("feeds queues that wait for finality with final events alone, each once", async () => {
    const chain = scriptedChain("a1 a2 a3 a4")
      .logs("a1", [added(1, 1)])
      .logs("a2", [added(1, 2)])
      .logs("a3", [added(1, 3)]);
    await base.journal.record(chain.extend("a1 a2 a3 a4"));
    assert.deepEqual(await deliveries("tasks"), []);
    await base.journal.record(chain.finalize("a2"));
    assert.deepEqual(await deliveries("tasks"), ["1 run 1", "2 run 2"]);
    await base.journal.record(chain.reorg("a2", "a4 a3"));
    assert.deepEqual(await deliveries("tasks"), ["1 run 1", "2 run 2"], "no revert of what was never run");
    const again = base.writer(0);
    await again.checkpoint();
    await again.record(chain.extend("a3 a4"));
    await again.record(chain.finalize("a4"));
    assert.deepEqual(await deliveries("tasks"), ["1 run 1", "2 run 2", "3 run 4"]);
  });

  it("calls final what a backfill adds, and what it held below", async () => {
    const chain = scriptedChain("a1 a2 a3 a4")
      .logs("a1", [added(1, 1)])
      .logs("a2", [added(1, 2)])
      .logs("a3", [added(1, 3)]);
    await base.journal.record(chain.extend("a1 a2"));
    await base.journal.record(chain.finalize("a1"));
    const update = chain.extend("a3 a4") as Extract<ChainUpdate, { type: "extend" }>;
    await base.journal.record({ ...update, headers: [update.headers[1]!], backfill: { from: 3, to: 4 } });
    assert.deepEqual(await deliveries("tasks"), ["1 run 1", "2 run 2", "3 run 3"]);
    assert.deepEqual(await blocks(), ["a4"]);
    assert.deepEqual((await base.journal.checkpoint()).finalized, chain.ref("a4"));
  });

  it("drops blocks below the finalized one, and keeps it", async () => {
    const chain = scriptedChain("a1 a2 a3");
    await base.journal.record(chain.extend("a1 a2 a3"));
    await base.journal.record(chain.finalize("a2"));
    assert.deepEqual(await blocks(), ["a2", "a3"]);
    const { finalized, blocks: held } = await base.journal.checkpoint();
    assert.deepEqual(finalized, chain.ref("a2"));
    assert.deepEqual(held, [chain.ref("a2"), chain.ref("a3")]);
  });

  it("holds contiguous blocks at every commit, although a range leaves gaps", async () => {
    const chain = scriptedChain("a1 a2 a3 a4 a5 a6 a7 a8 a9").logs("a3", [added(1, 1)]);
    const range = (names: string, logs: string): ChainUpdate => {
      const update = chain.extend(names);
      const logged = chain.extend(logs);
      return update.type === "extend" && logged.type === "extend" ? { ...update, logs: logged.logs } : update;
    };
    await base.journal.record(chain.extend("a1 a2"));
    await base.journal.record(range("a3 a6", "a3"));
    assert.deepEqual(await blocks(), ["a6"]);
    await base.journal.record(chain.extend("a7 a8"));
    assert.deepEqual(await blocks(), ["a6", "a7", "a8"]);
  });

  it("sends a log that cannot be decoded to the dead letters, and everything else on its way", async () => {
    const chain = scriptedChain("a1 a2").logs("a1", [added(1, 1), truncated(2), added(3, 3), added(4, 4)]);
    await base.journal.record(chain.extend("a1"));
    assert.deepEqual(await deliveries("ledger"), ["1 apply 1,3", "2 apply 2 dead", "3 apply 4"]);
    const [dead] = await rows("select last_error from deliveries where chain_id = $1 and state = 'dead'");
    assert.match(String(dead!.last_error), /bytes/);
    const [raw] = await rows("select data, arguments, error from events where chain_id = $1 and position = 2");
    assert.deepEqual([raw!.data, raw!.arguments], ["0x01", null]);
    assert.ok(raw!.error);
    await base.journal.record(chain.reorg("", "a1"));
    assert.deepEqual((await deliveries("ledger")).slice(3), ["4 revert 4,3", "5 revert 1"], "nothing of it was applied");
  });

  it("keeps logs that are no event of ours raw, and delivers them nowhere", async () => {
    const chain = scriptedChain("a1").logs("a1", [{ topics: [hashOf("other")] }, added(1, 1)]);
    await base.journal.record(chain.extend("a1"));
    assert.equal((await events()).length, 2);
    assert.deepEqual(await deliveries("ledger"), ["1 apply 2"]);
  });

  const hostile: [string, string][] = [
    ["NUL", "a\0b"],
    ["a lone surrogate", "a\ud800b"],
    ["64 KB", "x".repeat(65_536)],
    ["right-to-left marks", "\u202egnp.exe"],
    ["HTML", "<script>alert(1)</script>"],
    ["quotes, backslashes and braces", `'"\\{},;--$1`],
    ["the empty string", ""],
    ["every plane", "é漢🦀\u{10ffff}"],
  ];
  for (const [what, text] of hostile) {
    it(`stores a string with ${what}`, async () => {
      // A lone surrogate has no UTF-8, so it can only come as the bytes that ethers replaces or refuses.
      const chain = scriptedChain("a1").logs("a1", [named(1, text.toWellFormed())]);
      await base.journal.record(chain.extend("a1"));
      const [row] = await rows<{ arguments: { who: string; name: string } }>("select arguments from events where chain_id = $1");
      assert.deepEqual(row!.arguments, { who: account(1), name: text.toWellFormed().replaceAll("\0", "\ufffd") });
    });
  }

  it("stores amounts from 0 to 2^256 - 1", async () => {
    const amounts = [0n, 1n, 2n ** 64n, 2n ** 256n - 1n];
    const chain = scriptedChain("a1").logs(
      "a1",
      amounts.map(amount => added(1, amount)),
    );
    const { events } = await base.journal.record(chain.extend("a1"));
    assert.deepEqual(
      events.map(({ decoded }) => decoded.arguments!.amount),
      amounts,
    );
    const stored = await rows<{ amount: bigint }>(
      "select (arguments ->> 'amount')::numeric(78,0) as amount from events where chain_id = $1 order by position",
    );
    assert.deepEqual(
      stored.map(({ amount }) => amount),
      amounts,
    );
  });

  it("takes 10,000 logs in one block", async () => {
    const chain = scriptedChain("a1").logs(
      "a1",
      Array.from({ length: 10_000 }, (_, i) => added(i, i)),
    );
    const { deliveries: counts } = await base.journal.record(chain.extend("a1"));
    assert.deepEqual(counts, { ledger: 5_000 });
  });
});
