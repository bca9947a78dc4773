import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { describeStatus } from "../../../listener/commands/status.ts";
import { type NodeRow, readNodes, toNodeRow, writeNodes } from "../../../listener/journal/nodes.ts";
import { readStatus } from "../../../listener/journal/status.ts";
import { openTestJournal } from "../../support/journal.ts";
import { ledger, ledgerRoute, meterApp } from "../../support/meter.ts";

const since = "2026-01-02T03:04:05.000Z";
const liar: NodeRow = { url: "http://a/", state: "lying", reason: "log 3 of block 7 is hidden", since, latency: 12, rateLimit: null };
const good: NodeRow = { url: "http://b/", state: "ok", reason: null, since, latency: null, rateLimit: 2.5 };

describe("nodes", () => {
  let base: Awaited<ReturnType<typeof openTestJournal>>;
  before(async () => {
    base = await openTestJournal(meterApp(ledgerRoute(ledger())));
  });
  after(() => base.close());
  const write = (epoch: number, nodes: NodeRow[]) => writeNodes(base.db, { chainId: base.chainId, epoch }, nodes);
  const held = () => readNodes(base.db, base.chainId);

  it("holds those that the writer has, and forgets those that it has no more", async () => {
    await write(0, [liar, good]);
    assert.deepEqual(await held(), [liar, good]);
    const better: NodeRow = { ...liar, state: "ok", reason: null };
    await write(0, [better]);
    assert.deepEqual(await held(), [better]);
    await write(0, []);
    assert.deepEqual(await held(), []);
  });

  it("takes nothing from a writer of another epoch", async () => {
    await write(0, [good]);
    await write(1, [liar]);
    assert.deepEqual(await held(), [good]);
  });

  it("keeps a reason that Postgres could not, and no more of it than is of use", () => {
    const { reason } = toNodeRow({
      url: "http://a/",
      state: "resting",
      failures: 1,
      lastError: `\0${"x".repeat(9_000)}`,
      since: new Date(),
      latency: null,
      rateLimit: null,
    });
    assert.equal(reason!.length, 500);
    assert.ok(!reason!.includes("\0"));
  });

  it("has no reason for a node that is well, whatever it once failed with", () => {
    const node = {
      url: "http://a/",
      state: "ok",
      failures: 0,
      lastError: "HTTP 500",
      since: new Date(),
      latency: 1,
      rateLimit: null,
    } as const;
    assert.equal(toNodeRow(node).reason, null);
  });

  it("is told to a person as text", async () => {
    await write(0, [liar, good]);
    const text = describeStatus(await readStatus(base.db, base.chainId));
    assert.match(text, /^http:\/\/a\/ +lying +12 ms +2026-01-02T03:04:05.000Z {2}log 3 of block 7 is hidden$/m);
    assert.match(text, /^http:\/\/b\/ +ok +2026-01-02T03:04:05.000Z$/m);
  });
});
