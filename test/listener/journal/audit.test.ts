import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Projection } from "../../../listener/app.ts";
import { type AuditOptions, type AuditReport, audit, auditSince } from "../../../listener/journal/audit.ts";
import { openJournal } from "../../../listener/journal/journal.ts";
import { readStatus } from "../../../listener/journal/status.ts";
import { rebuild } from "../../../listener/worker/rebuild.ts";
import { replay } from "../../../listener/worker/replay.ts";
import { entriesApp } from "../../support/entries.ts";
import { follower } from "../../support/follower.ts";
import { contractsOf, rowsOf } from "../../support/journal.ts";
import { added, named, taskRoute } from "../../support/meter.ts";
import { openRig, type Rig } from "../../support/rig.ts";
import { type ScriptedChain, scriptedChain } from "../../support/scripted-chain.ts";
import { stubRpc } from "../../support/stub-rpc.ts";

const latest: Projection<never> = {
  name: "latest",
  tables: ["latest"],
  migrations: ["create table latest (chain_id bigint, who text, position bigint not null, primary key (chain_id, who))"],
  async apply(tx, events: readonly { chainId: number; position: number; arguments: { who: string } }[]) {
    for (const { chainId, position, arguments: given } of events)
      await tx.query("insert into latest values ($1, $2, $3) on conflict (chain_id, who) do update set position = excluded.position", [
        chainId,
        given.who,
        position,
      ]);
  },
  async revert() {},
};

const app = entriesApp(
  undefined,
  { queue: "ordered", events: ["Meter.Added"], projection: latest, orderBy: ({ arguments: given }) => (given as { who: string }).who },
  taskRoute(async () => {}),
);

describe("audit", () => {
  let rig: Rig;
  let chain: ScriptedChain;
  let options: AuditOptions;
  let relay: { end(): Promise<void> };
  const sql = (query: string) => rowsOf(rig.db, rig.chainId, query.replaceAll("CHAIN", "$1"));
  const status = () => readStatus(rig.db, rig.chainId);

  /** Follows the chain to its head, as the writer of a new epoch, and waits until everything is delivered. */
  async function settle(delivered = true): Promise<void> {
    const { rows } = await rig.db.query<{ epoch: number }>("update checkpoint set epoch = epoch + 1 where chain_id = $1 returning epoch", [
      rig.chainId,
    ]);
    const journal = openJournal({ db: rig.db, chainId: rig.chainId, epoch: rows[0]!.epoch, app, contracts: contractsOf(app) });
    await follower(chain, await journal.checkpoint(), update => journal.record(update)).look();
    if (delivered) await rig.settled();
  }

  before(async () => {
    rig = await openRig("postgres", app);
    relay = rig.startRelay();
    await rig.startWorkers();
    chain = scriptedChain("a1 a2 a3 a4 a5").final("a3");
    for (const n of [1, 2, 3, 4, 5]) chain.logs(`a${n}`, [added(1, n), added(2, 1), named(n, `name ${n}`)]);
    options = {
      db: rig.db,
      rpc: stubRpc({}),
      source: chain.source,
      app,
      chainId: rig.chainId,
      contracts: contractsOf(app),
      window: 100,
      secrets: ["a-secret-of-many-letters"],
    };
    await settle();
  });
  after(() => rig.close());

  it("raises the block up to which everything is audited as far as it is settled, and final where a task waits for that", async () => {
    const { ok, auditedTo, to, failures } = await auditSince(options);
    assert.deepEqual([ok, auditedTo, to, failures], [true, 3, 5, []]);
    assert.equal((await status()).auditedTo, 3);
    chain
      .grow("a6 a7")
      .final("a5")
      .logs("a6", [added(3, 3)]);
    await settle();
    const next = await auditSince(options);
    assert.deepEqual([next.from, next.to, next.auditedTo], [4, 7, 5]);
    assert.ok(next.checked.I1! < 10, "it looked at everything again");
  });

  it("looks from any block on that it is told, and raises nothing where it left some out", async () => {
    await sql("update checkpoint set audited_to = 3 where chain_id = CHAIN");
    const late = await auditSince(options, 6);
    assert.deepEqual([late.ok, late.from], [true, 6]);
    assert.equal((await status()).auditedTo, 3);
    assert.equal((await auditSince(options, 1)).from, 1);
    assert.equal((await status()).auditedTo, 5);
  });

  // What is broken and how it is mended; the audits that must find it.
  const faults: [what: string, invariant: string, breaking: string, mending: string][] = [
    [
      "an event that the journal lacks",
      "I1",
      "update events set block_number = -block_number where chain_id = CHAIN and block_number = 6",
      "update events set block_number = -block_number where chain_id = CHAIN and block_number = -6",
    ],
    [
      "an event whose data is not the chain's",
      "I2",
      "update events set data = data || '00' where chain_id = CHAIN and block_number = 6",
      "update events set data = left(data, -2) where chain_id = CHAIN and block_number = 6",
    ],
    [
      "a block that is not the chain's",
      "I3",
      "update blocks set hash = hash || '0' where chain_id = CHAIN and number = 6",
      "update blocks set hash = left(hash, -1) where chain_id = CHAIN and number = 6",
    ],
    [
      "an event beyond the tip",
      "I4",
      "update events set block_number = 60 where chain_id = CHAIN and block_number = 6",
      "update events set block_number = 6 where chain_id = CHAIN and block_number = 60",
    ],
    [
      "an event without a delivery",
      "I5",
      "update deliveries set queue = 'elsewhere' where chain_id = CHAIN and queue = 'added' and last_event = 16",
      "update deliveries set queue = 'added' where chain_id = CHAIN and queue = 'elsewhere'",
    ],
    [
      "an event that was given up",
      "I6",
      "update deliveries set state = 'dead' where chain_id = CHAIN and queue = 'added' and last_event = 16",
      "update deliveries set state = 'done' where chain_id = CHAIN and state = 'dead'",
    ],
    [
      "a revert in a queue that waits for finality",
      "I11",
      "insert into deliveries (chain_id, queue, position, operation, events, first_event, last_event, state) values (CHAIN, 'tasks', 99, 'revert', '{16}', 16, 16, 'done')",
      "delete from deliveries where chain_id = CHAIN and queue = 'tasks' and position = 99",
    ],
    [
      "a later writer before an earlier one",
      "I13",
      "update events set epoch = 0 where chain_id = CHAIN and position = 16",
      "update events set epoch = 2 where chain_id = CHAIN and position = 16",
    ],
    [
      "a writer of an epoch to come",
      "I13",
      "update events set epoch = 99 where chain_id = CHAIN and position = 16",
      "update events set epoch = 2 where chain_id = CHAIN and position = 16",
    ],
    [
      "a secret in an error that is kept",
      "I16",
      "update deliveries set state = 'dead', last_error = 'refused: a-secret-of-many-letters' where chain_id = CHAIN and queue = 'added' and last_event = 16",
      "update deliveries set state = 'done', last_error = null where chain_id = CHAIN and state = 'dead'",
    ],
    [
      "open deliveries that no route takes",
      "I16",
      "insert into deliveries (chain_id, queue, position, operation, events, first_event, last_event) values (CHAIN, 'elsewhere', 1, 'apply', '{16}', 16, 16)",
      "delete from deliveries where chain_id = CHAIN and queue = 'elsewhere'",
    ],
  ];
  const invariants = ({ ok, failures }: AuditReport) => {
    assert.equal(ok, failures.length === 0);
    return new Set(failures.map(({ invariant }) => invariant));
  };

  for (const [what, invariant, breaking, mending] of faults) {
    it(`finds ${what} (${invariant}), and keeps what it had audited`, async () => {
      await sql("update checkpoint set audited_to = 3 where chain_id = CHAIN");
      await sql(breaking);
      for (const find of [audit, auditSince]) assert.ok(invariants(await find(options)).has(invariant), find.name);
      assert.equal((await status()).auditedTo, 3);
      assert.ok((await status()).audit!.failures > 0);
      await sql(mending);
      for (const find of [auditSince, audit]) assert.deepEqual((await find(options)).failures, [], find.name);
      assert.deepEqual([(await status()).auditedTo, (await status()).audit!.failures], [5, 0]);
    });
  }

  it("finds a projection's row that is not what its events give, again and again until it is right", async () => {
    chain.grow("a8").logs("a8", [added(1, 100), added(4, 4)]);
    await settle();
    await sql("update totals set total = total + 1 where chain_id = CHAIN and who like '%1'");
    await sql("delete from entries where chain_id = CHAIN and position = 18");
    for (let i = 0; i < 2; i++) {
      const found = await auditSince(options);
      assert.deepEqual(invariants(found), new Set(["I10"]));
      assert.equal(found.failures.length, 3, "one row lacks, one is another");
    }
    assert.deepEqual(invariants(await audit(options)), new Set(["I10"]));
    await rebuild({ db: rig.db, app, chainId: rig.chainId }, "entries");
    assert.equal((await status()).auditedTo, null, "what is rebuilt is not audited");
    await rig.settled();
    for (const find of [auditSince, audit]) assert.deepEqual((await find(options)).failures, [], find.name);
  });

  it("finds a delivery that overtook an earlier one of its key", async () => {
    chain.grow("a9").logs("a9", [added(1, 1), added(1, 2)]);
    await settle();
    const swap = `update deliveries d set done_at = o.done_at from deliveries o where d.chain_id = CHAIN and o.chain_id = CHAIN
      and d.queue = 'ordered' and o.queue = 'ordered' and d.last_event in (19, 20) and o.last_event = 39 - d.last_event`;
    await sql(swap);
    for (const find of [audit, auditSince]) assert.deepEqual(invariants(await find(options)), new Set(["I12"]), find.name);
    await sql(swap);
    for (const find of [auditSince, audit]) assert.deepEqual((await find(options)).failures, [], find.name);
  });

  it("follows a reorg and a replay of what it compared already, by a projection whose revert does not bear that its row lacks", async () => {
    chain.forkAt("a8", "b9").logs("b9", [added(1, 1), added(1, 3)]);
    await settle();
    for (const find of [auditSince, audit]) assert.deepEqual((await find(options)).failures, [], find.name);
    const { events } = await replay({ db: rig.db, app, chainId: rig.chainId }, app.routes[0]!);
    assert.ok(events > 12, "final ones and others");
    await rig.settled();
    for (const find of [auditSince, audit]) assert.deepEqual((await find(options)).failures, [], find.name);
  });

  it("finds more in flight than the window, more jobs than that, deliveries without a job, and lost ones", async () => {
    await relay.end();
    const jobs = (waiting: number, has: boolean) => async () => ({ waiting, has: async () => has });
    assert.deepEqual(invariants(await auditSince({ ...options, jobs: jobs(101, true) })), new Set(["I14"]));
    await sql(
      "insert into deliveries (chain_id, queue, position, operation, events, first_event, last_event, state, sent_at) values (CHAIN, 'added', 99, 'apply', '{}', 1, 1, 'sent', now() - interval '1 hour')",
    );
    // What has no job yet is not in flight.
    assert.deepEqual(invariants(await auditSince({ ...options, jobs: jobs(1, false), window: 0 })), new Set(["I14"]));
    assert.deepEqual((await auditSince({ ...options, window: 0 })).failures, []);
    await sql("update queues set sent_to = sent_to + 1000 where chain_id = CHAIN and queue = 'added'");
    assert.deepEqual(invariants(await auditSince({ ...options, jobs: jobs(1, false) })), new Set(["I15"]));
    assert.deepEqual(invariants(await auditSince({ ...options, window: 0 })), new Set(["I14"]));
    assert.deepEqual(invariants(await audit(options)), new Set(["I15"]));
    await sql("delete from deliveries where chain_id = CHAIN and position = 99");
    await sql("update queues set sent_to = sent_to - 1000 where chain_id = CHAIN and queue = 'added'");
    assert.deepEqual((await audit({ ...options, jobs: jobs(100, false) })).failures, []);
  });

  it("counts what is under way neither as missing nor as wrong, and audits no further than that", async () => {
    chain
      .grow("a10 a11 a12")
      .final("a11")
      .logs("a10", [added(1, 1)])
      .logs("a11", [added(5, 5)]);
    await settle(false);
    const found = await auditSince(options);
    // Blocks 6 and later are final now, and their tasks are still to run.
    assert.deepEqual([found.failures, found.to, found.auditedTo], [[], 12, 5]);
    relay = rig.startRelay();
    await rig.settled();
    assert.deepEqual((await auditSince(options)).auditedTo, 11);
    assert.deepEqual((await audit(options)).failures, []);
  });

  it("takes nothing for audited that a reorg changed meanwhile", async () => {
    await sql("update checkpoint set audited_to = null where chain_id = CHAIN");
    const racing = {
      ...options,
      app: {
        ...app,
        audits: [async () => void (await rig.db.query("update checkpoint set doubts = doubts + 1 where chain_id = $1", [rig.chainId]))],
      },
    };
    assert.equal((await auditSince(racing)).ok, true);
    assert.equal((await status()).auditedTo, null);
    await auditSince(options);
    assert.equal((await status()).auditedTo, 11);
  });
});
