import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import type { JournalEvent, Projection } from "../../../listener/app.ts";
import { accounts } from "../../../listener/dapp/projections/accounts.ts";
import { balances, countHolders, readBalance } from "../../../listener/dapp/projections/balances.ts";
import { mining, readMiners } from "../../../listener/dapp/projections/mining.ts";
import { readSeries, readStatistics, statistics } from "../../../listener/dapp/projections/statistics.ts";
import { readTransfers, type Transfer, transfers } from "../../../listener/dapp/projections/transfers.ts";
import { app } from "../../../listener/dapp/routes.ts";
import { transaction } from "../../../listener/db.ts";
import { JOURNAL_MIGRATIONS } from "../../../listener/journal/schema.ts";
import { openTestDatabase, type TestDatabase } from "../../support/database.ts";
import { holder, tokenEvents } from "../../support/token.ts";

type Values = { from: string; to: string; value: bigint; amount: bigint; reward: bigint };
type Any = Projection<never>;
const ALL: Any[] = [accounts, balances, transfers, statistics] as unknown as Any[];

describe("projections", () => {
  let base: TestDatabase;
  before(async () => {
    base = await openTestDatabase([...JOURNAL_MIGRATIONS, ...app.migrations]);
  });
  after(() => base.close());

  const wanted = (projection: Any): ReadonlySet<string> => app.routes.find(route => (route.projection as unknown) === projection)!.events;
  const dump = async (projection: Any) => {
    const tables: Record<string, unknown> = {};
    for (const table of projection.tables) {
      tables[table] = (await base.db.query(`select to_jsonb(t)::text as row from ${table} t order by 1`)).rows.map(({ row }) => row);
    }
    return tables;
  };
  const clear = () => base.db.query(`truncate ${ALL.flatMap(({ tables }) => tables).join(", ")}`);
  const run = async (projection: Any, operation: "apply" | "revert", events: readonly JournalEvent[]) => {
    if (events.length > 0) await transaction(base.db, tx => projection[operation](tx, events as never));
  };
  /** Cuts events into batches at these places. */
  const batches = (events: readonly JournalEvent[], sizes: readonly number[]): JournalEvent[][] => {
    const left = [...events];
    const cut: JournalEvent[][] = [];
    for (let i = 0; left.length > 0; i++) cut.push(left.splice(0, sizes[i % sizes.length] ?? 1));
    return cut;
  };
  const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 });

  for (const projection of ALL) {
    const events = tokenEvents.map(all => all.filter(({ event }) => wanted(projection).has(event)));

    it(`${projection.name}: a revert leaves no trace of what was applied`, async () => {
      await fc.assert(
        fc.asyncProperty(events, events, sizes, async (kept, all, cuts) => {
          await clear();
          const gone = all.map(event => ({ ...event, position: event.position + 1_000, arguments: renamed(event) }));
          for (const batch of batches(kept, cuts)) await run(projection, "apply", batch);
          const before = await dump(projection);
          for (const batch of batches(gone as JournalEvent[], cuts)) await run(projection, "apply", batch);
          for (const batch of batches((gone as JournalEvent[]).toReversed(), cuts.toReversed())) await run(projection, "revert", batch);
          assert.deepEqual(await dump(projection), before);
        }),
        { numRuns: 40 },
      );
    });

    it(`${projection.name}: the order and the batches of deliveries make no difference`, async () => {
      await fc.assert(
        fc.asyncProperty(events, sizes, fc.infiniteStream(fc.nat()), async (all, cuts, random) => {
          await clear();
          await run(projection, "apply", all);
          const straight = await dump(projection);
          await clear();
          const shuffled = batches(all, cuts).map(batch => ({ batch, at: random.next().value as number }));
          for (const { batch } of shuffled.sort((a, b) => a.at - b.at)) await run(projection, "apply", batch);
          assert.deepEqual(await dump(projection), straight);
        }),
        { numRuns: 40 },
      );
    });
  }

  it("balances, holders, supply and statistics are what a recomputation gives", async () => {
    await fc.assert(
      fc.asyncProperty(tokenEvents, async all => {
        await clear();
        for (const projection of ALL)
          await run(
            projection,
            "apply",
            all.filter(({ event }) => wanted(projection).has(event)),
          );
        const held = new Map<string, bigint>();
        const expected = { supply: 0n, transfers: 0n, volume: 0n, registered: 0n, minted: 0n, mined: 0n, paused: false };
        for (const { event, arguments: values } of all) {
          const { from, to, value, amount, reward } = values as Values;
          if (event === "SluiceToken.Transfer") {
            held.set(from, (held.get(from) ?? 0n) - value);
            held.set(to, (held.get(to) ?? 0n) + value);
            if (from === holder(0)) expected.supply += value;
            else if (to === holder(0)) expected.supply -= value;
            else {
              expected.transfers += 1n;
              expected.volume += value;
            }
          }
          if (event === "SluiceToken.Registered") expected.registered += 1n;
          if (event === "SluiceToken.Minted") expected.minted += amount;
          if (event === "SluiceToken.Mined") expected.mined += reward;
          if (event === "SluiceToken.Paused") expected.paused = true;
          if (event === "SluiceToken.Unpaused") expected.paused = false;
        }
        held.delete(holder(0));
        for (let i = 1; i <= 5; i++) assert.equal(await readBalance(base.db, 1, holder(i)), held.get(holder(i)) ?? 0n);
        assert.equal(await countHolders(base.db, 1), [...held.values()].filter(balance => balance > 0n).length);
        const found = await readStatistics(base.db, 1);
        for (const [metric, value] of Object.entries(expected)) assert.equal(found[metric as keyof typeof found], value, metric);
        assert.equal(
          found.supply,
          [...held.values()].reduce((sum, balance) => sum + balance, 0n),
        );
        for (const resolution of ["minute", "hour", "day"] as const) {
          const points = await readSeries(base.db, 1, { metric: "volume", resolution, from: 0, to: 2 ** 40, limit: 1_000 });
          assert.equal(
            points.reduce((sum, { value }) => sum + value, 0n),
            expected.volume,
          );
        }
      }),
      { numRuns: 60 },
    );
  });

  it("adds up amounts beyond a uint256, and takes them back", async () => {
    await clear();
    const most = 2n ** 256n - 1n;
    const times = 20;
    const said = (name: string, values: object, i: number) =>
      ({
        ...{ id: `event-${i}`, chainId: 1, position: i, contract: "SluiceToken", address: holder(9), event: `SluiceToken.${name}` },
        ...{ arguments: values, block: { number: i, hash: `0x${i}`, timestamp: 60 }, transactionHash: `0x${i}`, logIndex: 0 },
      }) as unknown as JournalEvent;
    const all = Array.from({ length: times }, (_, i) => [
      said("Transfer", { from: holder(1), to: holder(2), value: most }, 4 * i + 1),
      said("Minted", { minter: holder(1), to: holder(2), amount: most, reason: `0x${"00".repeat(32)}`, sequence: 0n }, 4 * i + 2),
      said("Mined", { beneficiary: holder(3), epoch: most, reward: most, digest: `0x${"00".repeat(32)}`, nonce: most }, 4 * i + 3),
      said("Transfer", { from: holder(0), to: holder(2), value: most }, 4 * i + 4),
    ]).flat();
    const eachOf = (operation: "apply" | "revert") => async () => {
      for (const projection of [...ALL, mining as unknown as Any]) {
        const mine = all.filter(({ event }) => wanted(projection).has(event));
        for (const batch of batches(mine, [3])) await run(projection, operation, batch);
      }
    };
    await eachOf("apply")();
    const sum = BigInt(times) * most;
    const { volume, supply, minted, mined } = await readStatistics(base.db, 1);
    assert.deepEqual({ volume, supply, minted, mined }, { volume: sum, supply: sum, minted: sum, mined: sum });
    assert.equal(await readBalance(base.db, 1, holder(2)), 2n * sum);
    assert.equal((await readMiners(base.db, 1, 1))[0]!.rewards, sum);
    assert.equal(await countHolders(base.db, 1), 1);
    await eachOf("revert")();
    assert.equal((await readStatistics(base.db, 1)).volume, 0n);
    assert.equal(await countHolders(base.db, 1), 0);
    assert.deepEqual(await readMiners(base.db, 1, 1), []);
  });

  it("counts holders of batches that run side by side", async () => {
    await clear();
    const accounts = Array.from({ length: 40 }, (_, i) => holder(i + 1));
    // Each account gets 1 of the account before it, so that most pass below zero or through it in any order of the batches.
    const moves = accounts.flatMap((to, i) => [
      { from: i === 0 ? holder(0) : accounts[i - 1]!, to, value: 1n },
      { from: holder(0), to: accounts[i % 2]!, value: 1n },
    ]);
    const all = moves.map(
      (values, i) => ({ event: "SluiceToken.Transfer", chainId: 1, position: i + 1, arguments: values }) as unknown as JournalEvent,
    );
    await Promise.all(batches(all, [3, 1, 4]).map(batch => run(balances as unknown as Any, "apply", batch)));
    const { rows } = await base.db.query<{ count: number }>("select count(*) from balances where balance > 0");
    assert.equal(await countHolders(base.db, 1), rows[0]!.count);
    assert.equal(rows[0]!.count, 3);
  });

  it("an account's history has every transfer of it, newest first, page by page", async () => {
    await fc.assert(
      fc.asyncProperty(tokenEvents, fc.integer({ min: 1, max: 7 }), async (all, limit) => {
        await clear();
        const moved = all.filter(({ event }) => event === "SluiceToken.Transfer");
        await journalize(moved);
        await run(transfers as unknown as Any, "apply", moved);
        const expected = moved
          .filter(({ arguments: { from, to } }) => from === holder(1) || to === holder(1))
          .map(({ position, arguments: { from, to, value }, block, transactionHash, logIndex }) => ({
            ...{ position, id: `1-${block.hash}-${logIndex}`, from, to, amount: value, transactionHash, logIndex, block },
          }))
          .reverse();
        const found: Transfer[] = [];
        for (let before: number | undefined; ; before = found.at(-1)!.position) {
          const page = await readTransfers(base.db, 1, holder(1), { limit, before });
          found.push(...page);
          if (page.length < limit) break;
        }
        assert.deepEqual(found, expected);
      }),
      { numRuns: 40 },
    );
  });

  /** What the journal says of these events beside their arguments. */
  async function journalize(events: readonly JournalEvent[]): Promise<void> {
    await base.db.query("truncate events");
    for (const { position, block, transactionHash, logIndex } of events) {
      await base.db.query(
        `insert into events (chain_id, position, block_number, block_hash, block_timestamp, transaction_hash, transaction_index, log_index,
           address, contract, name, topics, data, seen_at)
         values (1, $1, $2, $3, $4, $5, 0, $6, '0x', 'SluiceToken', 'Transfer', '{}', '0x', now())`,
        [position, block.number, block.hash, block.timestamp, transactionHash, logIndex],
      );
    }
  }

  /** The same event for accounts that no kept event is about, as far as registrations go: they are unique on the chain. */
  function renamed(event: JournalEvent): JournalEvent["arguments"] {
    const { account } = event.arguments as { account?: string };
    return account ? { ...event.arguments, account: account.replace("0xa", "0xb") } : event.arguments;
  }
});
