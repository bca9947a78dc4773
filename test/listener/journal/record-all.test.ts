import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import type { ChainUpdate } from "../../../listener/chain/types.ts";
import { recordAll } from "../../../listener/journal/record-all.ts";
import { openTestJournal, rowsOf } from "../../support/journal.ts";
import { added, meterApp, named, truncated } from "../../support/meter.ts";
import { scriptedChain } from "../../support/scripted-chain.ts";

type Extend = Extract<ChainUpdate, { type: "extend" }>;

describe("recording one update after the other", () => {
  let base: Awaited<ReturnType<typeof openTestJournal>>;
  beforeEach(async () => {
    base = await openTestJournal(meterApp());
    await base.journal.checkpoint();
  });
  afterEach(() => base.close());

  const chain = scriptedChain("a1 a2 a3")
    .logs("a1", [added(1, 1), named(1, "tab\t, line\n, back\\slash, \\N, \u202e and ☃")])
    .logs("a2", [truncated(2), added(2, 2)])
    .logs("a3", [added(3, 3)]);
  const blocks = ["a1", "a2", "a3"];
  const atTheHead = () => blocks.map(name => chain.extend(name));
  const inBackfill = () => blocks.map(name => ({ ...(chain.extend(name) as Extend), backfill: { from: 1, to: 3 } }));

  /** What happens, in order: `asked` for the n-th update, `recorded` it. */
  async function record(updates: readonly ChainUpdate[]): Promise<string[]> {
    const happened: string[] = [];
    async function* given() {
      for (const [i, update] of updates.entries()) {
        happened.push(`asked ${i + 1}`);
        yield update;
      }
    }
    let n = 0;
    for await (const _ of recordAll(base.journal, given())) happened.push(`recorded ${++n}`);
    return happened;
  }
  const events = () =>
    rowsOf(
      base.db,
      base.chainId,
      `select position, block_number, block_hash, block_timestamp, transaction_hash, transaction_index, log_index, address, contract, name,
         arguments, topics, data, error from events where chain_id = $1 order by position`,
    );

  it("takes the next of a backfill while one is committed, and writes the same rows", async () => {
    assert.deepEqual(await record(inBackfill()), ["asked 1", "asked 2", "recorded 1", "asked 3", "recorded 2", "recorded 3"]);
    const ahead = await events();
    assert.equal(ahead.length, 5);
    await base.close();
    base = await openTestJournal(meterApp());
    await base.journal.checkpoint();
    for (const update of inBackfill()) await base.journal.record(update);
    assert.deepEqual(ahead, await events());
  });

  it("asks for nothing at the head before the last block is committed", async () => {
    assert.deepEqual(await record(atTheHead()), ["asked 1", "recorded 1", "asked 2", "recorded 2", "asked 3", "recorded 3"]);
  });

  it("commits what it has before it ends with a fault of what comes next", async () => {
    async function* given() {
      yield inBackfill()[0]!;
      throw new Error("the node is gone");
    }
    const recorded: unknown[] = [];
    await assert.rejects(async () => {
      for await (const one of recordAll(base.journal, given())) recorded.push(one);
    }, /the node is gone/);
    assert.equal(recorded.length, 1);
    assert.equal((await events()).length, 2);
  });

  it("waits for nobody when it is left", async () => {
    async function* given() {
      yield inBackfill()[0]!;
      await new Promise<never>(() => {});
    }
    for await (const _ of recordAll(base.journal, given())) break;
  });
});
