import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { transaction } from "../../../listener/db.ts";
import { LeaseLostError } from "../../../listener/errors.ts";
import { openTestJournal, rowsOf } from "../../support/journal.ts";
import { added, ledger, ledgerRoute, meterApp, named, taskRoute, truncated } from "../../support/meter.ts";
import { scriptedChain } from "../../support/scripted-chain.ts";

const app = meterApp(
  ledgerRoute(ledger(), { batch: 2 }),
  taskRoute(async () => {}),
);

type Base = Awaited<ReturnType<typeof openTestJournal>>;

/** Everything but times, and what differs by whether a delivery had to be claimed. */
const everything = async ({ db, chainId }: Base) => {
  const rows = (query: string) => rowsOf(db, chainId, query);
  return {
    checkpoint: await rows(
      `select tip_number, tip_hash, head_number, events, backfill_from, backfill_to, backfill_events, reorgs, epoch from checkpoint
       where chain_id = $1`,
    ),
    blocks: await rows("select number, hash, parent_hash, timestamp from blocks where chain_id = $1 order by number"),
    events: await rows("select to_jsonb(e) - array['chain_id', 'seen_at'] as event from events e where chain_id = $1 order by position"),
    deliveries: await rows(
      `select queue, position, operation, events, first_event, last_event, key, last_error, state = 'dead' as dead from deliveries
       where chain_id = $1 order by queue, position`,
    ),
  };
};

describe("blocks at the head, in one statement", () => {
  let base: Base;
  beforeEach(async () => {
    base = await openTestJournal(app);
  });
  afterEach(() => base.close());

  const chain = scriptedChain("a1 a2 a3 a4 a5")
    .logs("a1", [added(1, 10)])
    .logs("a2", [added(1, 7), named(1, "back\\slash, 'quotes' \"too\", {braces}\nand\ttabs"), truncated(1)])
    .logs("a4", [added(2, 3)])
    .logs("a5", [added(3, 1)])
    .forkAt("a4", "b5")
    .logs("b5", [added(4, 4)]);
  /** A writer beside a relay that has room. */
  const live = async (of = base) => {
    const relay = { released: new Set(["ledger"]), take: () => true };
    const writer = of.writer(0, relay);
    await writer.checkpoint();
    return writer;
  };

  it("stores the same as several statements do", async () => {
    const other = await openTestJournal(app);
    try {
      await base.journal.checkpoint();
      for (const writer of [await live(other), base.journal]) {
        await writer.record(chain.extend("a1"));
        // The second commit is the first that knows what was left.
        await writer.record(chain.extend("a2"));
        await writer.record(chain.extend("a3 a4"));
        await writer.record(chain.extend("a5"));
        await writer.record(chain.reorg("a4", "a5"));
        await writer.record(chain.extend("b5"));
      }
      assert.deepEqual(await everything(other), await everything(base));
    } finally {
      await other.close();
    }
  });

  it("opens no transaction", async () => {
    const writer = await live();
    await writer.record(chain.extend("a1"));
    const statements: string[] = [];
    const note = (client: { query: unknown }) => {
      const query = (client.query as typeof base.db.query).bind(client);
      client.query = (...given: unknown[]) => {
        statements.push((given[0] as { text?: string }).text ?? String(given[0]));
        return (query as (...given: unknown[]) => unknown)(...given);
      };
    };
    base.db.on("acquire", note);
    const { handed } = await writer.record(chain.extend("a2"));
    assert.equal(statements.length, 1);
    assert.deepEqual(handed, [{ queue: "ledger", operation: "apply", position: 2 }]);
  });

  it("commits nothing at all where a part of it fails", async () => {
    const writer = await live();
    await writer.record(chain.extend("a1"));
    const before = await everything(base);
    await base.db.query("alter table deliveries add constraint full_up check (position < 2) not valid");
    await assert.rejects(writer.record(chain.extend("a2")), /full_up/);
    assert.deepEqual(await everything(base), before);
    await base.db.query("alter table deliveries drop constraint full_up");
    await writer.record(chain.extend("a2"));
    assert.equal((await everything(base)).events.length, 4);
  });

  it("changes nothing where another writer was there, and steps down", async () => {
    const [writer, other] = [await live(), await live()];
    await writer.record(chain.extend("a1"));
    await other.checkpoint();
    await other.record(chain.extend("a2"));
    const before = await everything(base);
    await assert.rejects(writer.record(chain.extend("a2")), LeaseLostError);
    assert.deepEqual(await everything(base), before);
    await base.db.query("update checkpoint set epoch = 1 where chain_id = $1", [base.chainId]);
    await assert.rejects(other.record(chain.extend("a3")), LeaseLostError);
  });

  it("waits for whoever holds the checkpoint, and goes by what that left", async () => {
    const writer = await live();
    await writer.record(chain.extend("a1"));
    let recording: Promise<unknown> | undefined;
    await transaction(base.db, async tx => {
      await tx.query("update checkpoint set doubts = doubts + 1, epoch = epoch where chain_id = $1", [base.chainId]);
      recording = writer.record(chain.extend("a2"));
      recording.catch(() => {});
      for (let waits = 0; waits === 0; ) {
        const { rows } = await base.db.query("select count(*)::int as n from pg_locks where not granted");
        waits = rows[0].n;
      }
    });
    await recording;
    const { checkpoint, events, deliveries } = await everything(base);
    assert.deepEqual([checkpoint[0]!.tip_number, checkpoint[0]!.events, events.length, deliveries.length], [2, 4, 4, 3]);
    const { rows } = await base.db.query("select doubts from checkpoint where chain_id = $1", [base.chainId]);
    assert.equal(rows[0].doubts, 1);
  });
});
