import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { App, Route } from "../../../listener/app.ts";
import { transaction } from "../../../listener/db.ts";
import { SluiceError } from "../../../listener/errors.ts";
import { countDeliveries } from "../../../listener/journal/status.ts";
import { retryDeadLetters } from "../../../listener/worker/dead-letters.ts";
import { planRebuild, rebuild } from "../../../listener/worker/rebuild.ts";
import { assertAudit } from "../../support/audit.ts";
import { entriesApp } from "../../support/entries.ts";
import { eventually } from "../../support/eventually.ts";
import { rowsOf } from "../../support/journal.ts";
import { added, ledger, ledgerRoute, meterApp, named, truncated } from "../../support/meter.ts";
import { sharedRedis } from "../../support/redis.ts";
import { onBothBackends, openRig, type Rig } from "../../support/rig.ts";
import { scriptedChain } from "../../support/scripted-chain.ts";

onBothBackends("rebuild", kind => {
  let rig: Rig;
  let app: App;
  const holds: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const letGo of holds.splice(0)) await letGo();
    await rig.close();
  });
  const open = async (given: App) => {
    app = given;
    rig = await openRig(kind, app);
  };
  const again = (name = "entries") => rebuild({ db: rig.db, app, chainId: rig.chainId }, name);
  const entries = () => rowsOf(rig.db, rig.chainId, "select position, amount from entries where chain_id = $1 order by position");
  const totals = () => rowsOf(rig.db, rig.chainId, "select who, total from totals where chain_id = $1 order by who");
  const three = () =>
    scriptedChain("a1 a2 a3")
      .logs("a1", [added(1, 1), named(1, "one"), added(2, 1)])
      .logs("a2", [added(2, 2), named(9, "nine"), named(2, "two")])
      .logs("a3", [added(3, 3), added(1, 3), added(1, 4)]);

  /** The counts of `status`, which are found without reading what is done, are those of the rows. */
  async function assertCounts(): Promise<void> {
    const rows = await rig.deliveries();
    for (const [queue, counts] of Object.entries(await countDeliveries(rig.db, rig.chainId))) {
      const of = (state: string) => rows.filter(row => row.queue === queue && row.state === state).length;
      assert.deepEqual(counts, { pending: of("pending"), inFlight: of("sent"), done: of("done"), failed: of("dead") });
    }
  }

  /** Keeps a rebuild in the middle of its work, its deliveries deleted and its tables not, until it is let go. */
  async function hold(table: string) {
    const blocker = await rig.db.connect();
    await blocker.query(`begin; lock table ${table} in share mode`);
    let held = true;
    const letGo = async () => {
      if (!held) return;
      held = false;
      await blocker.query("commit");
      blocker.release();
    };
    holds.push(letGo);
    return {
      waits: () =>
        eventually(async () => {
          const { rows } = await rig.db.query<{ pid: number }>(
            "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like $1",
            [`delete from ${table}%`],
          );
          return rows[0]?.pid;
        }),
      letGo,
    };
  }

  it("gives the same tables, from both of the queues that feed them", async () => {
    await open(entriesApp());
    const chain = three();
    rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1 a2 a3"));
    await rig.record(
      chain
        .forkAt("a2", "b3")
        .logs("b3", [added(4, 4), named(4, "x")])
        .reorg("a2", "a3"),
    );
    await rig.record(chain.extend("b3"));
    await rig.settled();
    const before = [await entries(), await totals()];
    // What no event put there is gone afterwards.
    await rig.db.query("insert into totals values ($1, 'nobody', 99)", [rig.chainId]);
    const rebuilt = await again();
    assert.deepEqual(rebuilt.tables, { entries: before[0]!.length, totals: before[1]!.length + 1 });
    assert.deepEqual(
      Object.entries(rebuilt.queues).map(([queue, { events }]) => [queue, events]),
      [
        ["added", 4],
        ["named", 4],
      ],
    );
    await assertCounts();
    await rig.settled();
    assert.deepEqual([await entries(), await totals()], before);
    await assertAudit(rig, app, chain);
    await assertCounts();
  });

  it("stays right while blocks come and go, workers work and it is called again and again", async () => {
    await open(entriesApp());
    const chain = scriptedChain("a1").logs("a1", [added(1, 1), named(2, "two")]);
    rig.startRelay({ window: 5 });
    for (let i = 0; i < 2; i++) await rig.startWorkers();
    await rig.record(chain.extend("a1"));
    let rebuilds = 0;
    let recorded = false;
    const rebuilding = (async () => {
      for (; !recorded || rebuilds < 2; rebuilds++) await again();
    })();
    for (let number = 2; number <= 60; number++) {
      const parent = chain.canonical(1).at(-1)!;
      const name = `a${number}`;
      chain.forkAt(parent, name).logs(name, [added(number % 5, number), added(7, 1), named(number % 3, "n"), added(number % 2, 1)]);
      await rig.record(chain.extend(name));
      if (number % 7 > 0) continue;
      const fork = `z${number}`;
      await rig.record(
        chain
          .forkAt(parent, fork)
          .logs(fork, [added(9, 1)])
          .reorg(parent, name),
      );
      await rig.record(chain.extend(fork));
    }
    recorded = true;
    await rebuilding;
    await rig.settled();
    assert.deepEqual(
      (await rig.deliveries()).filter(({ state }) => state !== "done"),
      [],
    );
    await assertAudit(rig, app, chain);
    await assertCounts();
  });

  it("lets blocks be recorded, other projections follow and readers read while it is under way", async () => {
    await open(entriesApp(undefined, ledgerRoute(ledger())));
    const chain = three();
    rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1 a2"));
    await rig.settled();
    const before = await entries();
    const held = await hold("totals");
    const rebuilding = again();
    await held.waits();
    await rig.record(chain.extend("a3"));
    await eventually(async () => (await rig.deliveries("ledger")).filter(({ state }) => state === "done").length === 6);
    assert.deepEqual(await entries(), before, "a reader saw a wiped table");
    assert.deepEqual(
      (await rig.deliveries("added")).filter(({ state }) => state === "pending").map(({ events }) => events),
      [[7, 8, 9]],
      "what was recorded meanwhile was worked on",
    );
    await held.letGo();
    await rebuilding;
    await rig.settled();
    await assertAudit(rig, app, chain);
  });

  it("keeps the order of a key, for what was recorded meanwhile too", async () => {
    const orderBy = (event: { arguments: { who: string } }) => event.arguments.who;
    await open(meterApp(ledgerRoute(ledger(), { orderBy } as never as Partial<Route>)));
    const chain = three();
    rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1 a2"));
    await eventually(async () => (await rig.deliveries()).filter(({ state }) => state === "done").length === 3);
    const held = await hold("sums");
    const rebuilding = again("ledger");
    await held.waits();
    await rig.record(chain.extend("a3"));
    await held.letGo();
    await rebuilding;
    await rig.settled();
    const order = (await rig.calls()).map(call => Number(call.split(" ")[1]));
    for (const lane of [[1, 8, 9], [3, 4], [7]]) {
      assert.deepEqual(
        order.filter(position => lane.includes(position)),
        lane,
      );
    }
    assert.equal(order.length, 6);
    await assertAudit(rig, app, chain);
  });

  it("has done nothing where it is cut short", async () => {
    await open(entriesApp());
    const chain = three();
    rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1 a2"));
    await rig.settled();
    const before = [await entries(), await totals(), await rig.deliveries()];
    const held = await hold("totals");
    const rebuilding = assert.rejects(again());
    await rig.db.query("select pg_terminate_backend($1)", [await held.waits()]);
    await rebuilding;
    await held.letGo();
    assert.deepEqual([await entries(), await totals(), await rig.deliveries()], before);
    await assertCounts();
    await rig.record(chain.extend("a3"));
    await rig.settled();
    await assertAudit(rig, app, chain);
  });

  it("applies nothing twice when a worker is killed in the middle of a delivery", async () => {
    await open(entriesApp());
    const chain = three();
    const file = fileURLToPath(new URL("./run-worker.ts", import.meta.url));
    const redisUrl = kind === "redis" ? sharedRedis! : "";
    const worker = spawn(process.execPath, [file, rig.url, String(rig.chainId), redisUrl], { stdio: ["ignore", "pipe", "inherit"] });
    const exited = once(worker, "exit");
    try {
      rig.startRelay();
      await rig.record(chain.extend("a1 a2"));
      await once(worker.stdout, "data");
      const rebuilding = again();
      await eventually(async () => {
        const { rowCount } = await rig.db.query(
          "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like 'delete from deliveries%'",
        );
        return rowCount === 1;
      });
      await rig.record(chain.extend("a3"));
      worker.kill("SIGKILL");
      await rebuilding;
    } finally {
      worker.kill("SIGKILL");
      await exited;
    }
    await rig.startWorkers();
    await rig.settled(120_000);
    await assertAudit(rig, app, chain);
  });

  it("applies again what a retry had been able to decode", async () => {
    await open(entriesApp());
    const chain = scriptedChain("a1").logs("a1", [added(1, 1), truncated(2)]);
    rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1"));
    // As if the log had been whole all along, and the ABI wrong.
    await rig.db.query("update events set data = $1 where position = 2", [added(2, 7).data]);
    await transaction(rig.db, tx => retryDeadLetters(tx, rig.chainId));
    await rig.settled();
    const before = [await entries(), await totals()];
    assert.equal(before[0]!.length, 2);
    await again();
    await rig.settled();
    assert.deepEqual([await entries(), await totals()], before);
  });

  it("only says what it would do in a dry run", async () => {
    await open(entriesApp());
    const chain = three();
    rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1 a2"));
    await rig.settled();
    const before = [await entries(), await totals(), await rig.deliveries()];
    const planned = await planRebuild({ db: rig.db, app, chainId: rig.chainId }, "entries");
    assert.deepEqual([await entries(), await totals(), await rig.deliveries()], before);
    assert.deepEqual(await again(), planned);
    await assert.rejects(again("nothing"), SluiceError);
  });
});
