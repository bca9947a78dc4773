/**
 * How long audits of a long journal take: `node bench/audit.ts [--events 1000000] [--later 6000]`.
 *
 * A chain in memory gives transfers among ten thousand accounts; the journal and the projections are the real ones, on a
 * Postgres of this run's own (or SLUICE_TEST_DATABASE_URL). The deliveries are carried out here, without queues, in large
 * batches. Prints seconds and memory of a full audit, of the first incremental one, which builds the shadows, and of
 * those after it: with nothing new, and with `--later` new events.
 */
import { parseArgs } from "node:util";
import { AbiCoder, Interface, id } from "ethers";
import { logRanges } from "../listener/chain/ranges.ts";
import type { ChainSource, Header, Log } from "../listener/chain/types.ts";
import { contracts as abis } from "../listener/dapp/contracts.ts";
import { app } from "../listener/dapp/routes.ts";
import { transaction } from "../listener/db.ts";
import { audit, auditSince } from "../listener/journal/audit.ts";
import { enterChain } from "../listener/journal/chains.ts";
import { readEvents, toJournalEvent } from "../listener/journal/events.ts";
import { openJournal } from "../listener/journal/journal.ts";
import { JOURNAL_MIGRATIONS } from "../listener/journal/schema.ts";
import { openTestDatabase } from "../test/support/database.ts";
import { stubRpc } from "../test/support/stub-rpc.ts";

const { values } = parseArgs({ options: { events: { type: "string", default: "1000000" }, later: { type: "string", default: "6000" } } });
const TOTAL = Number(values.events);
const LATER = Number(values.later);
const PER_BLOCK = 500;
const ACCOUNTS = 10_000;
const CHAIN = 31_337;
const TOKEN = `0x${"70".repeat(20)}`;
const token = new Interface(abis.SluiceToken as never);
const topic = token.getEvent("Transfer")!.topicHash;
const word = (value: number | bigint) => value.toString(16).padStart(64, "0");
const account = (n: number) => `0x${(n + 1).toString(16).padStart(40, "0")}`;
const hashOf = (number: number) => `0x${word(number + 1)}`;
const header = (number: number): Header => ({
  number,
  hash: hashOf(number),
  parentHash: hashOf(number - 1),
  timestamp: 1_700_000_000 + number * 12,
  logsBloom: "0x",
});

/** Transfer `n`: every account is given much at first, and then gives away little. */
function transfer(n: number): { from: number | undefined; to: number; value: bigint } {
  if (n < ACCOUNTS) return { from: undefined, to: n, value: 10n ** 24n };
  return { from: (n * 7_919) % ACCOUNTS, to: (n * 104_729 + 1) % ACCOUNTS, value: BigInt(n % 1_000) };
}

const logsOf = (number: number): Log[] =>
  Array.from({ length: PER_BLOCK }, (_, logIndex) => {
    const { from, to, value } = transfer((number - 1) * PER_BLOCK + logIndex);
    return {
      blockNumber: number,
      blockHash: hashOf(number),
      blockTimestamp: header(number).timestamp,
      transactionHash: `0x${word(number * PER_BLOCK + logIndex)}`,
      transactionIndex: logIndex,
      logIndex,
      address: TOKEN,
      topics: [topic, `0x${word(from === undefined ? 0 : from + 1)}`, `0x${word(to + 1)}`],
      data: `0x${word(value)}`,
    };
  });

let head = 0;
const balances = new Map<string, bigint>();
let supply = 0n;
const source: ChainSource = {
  head: async () => header(head),
  finalized: async () => header(Math.max(1, head - 16)),
  headerByHash: async hash => header(Number(hash) - 1),
  headerByNumber: async number => (number <= head ? header(number) : undefined),
  headers: async numbers => numbers.map(number => (number <= head ? header(number) : undefined)),
  logsOf: async ({ number }) => logsOf(number),
  logsIn: async (from, to) => Array.from({ length: to - from + 1 }, (_, i) => logsOf(from + i)).flat(),
  changed: async () => {},
};
const selector = (signature: string) => id(signature).slice(0, 10);
const views: Record<string, (argument: string) => bigint> = {
  [selector("balanceOf(address)")]: argument => balances.get(`0x${argument.slice(24)}`) ?? 0n,
  [selector("totalSupply()")]: () => supply,
  [selector("sequence()")]: () => 0n,
};
const rpc = stubRpc({
  eth_call: ({ data }: { data: string }) => AbiCoder.defaultAbiCoder().encode(["uint256"], [views[data.slice(0, 10)]!(data.slice(10))]),
});

const base = await openTestDatabase([...JOURNAL_MIGRATIONS, ...app.migrations]);
const { db } = base;
const identity = { chainId: CHAIN, genesis: hashOf(0), instance: undefined, development: false };
await enterChain(db, rpc, identity, { chainId: CHAIN, contracts: { SluiceToken: { address: TOKEN, block: 1 } } });
const contracts = [{ name: "SluiceToken", decoders: app.contracts.get("SluiceToken")!, address: TOKEN }];
const journal = openJournal({ db, chainId: CHAIN, epoch: 0, app, contracts });
await journal.checkpoint();

/** Follows so many events more, and carries out what that puts into the queues. */
async function grow(events: number): Promise<void> {
  const [from, to] = [head + 1, head + Math.ceil(events / PER_BLOCK)];
  head = to;
  for await (const { logs, ...range } of logRanges(source, from, to)) {
    const headers = Array.from({ length: range.to - range.from + 1 }, (_, i) => header(range.from + i));
    await journal.record({ type: "extend", headers, logs, head, seenAt: new Date() });
    if (range.to > 16) await journal.record({ type: "finalize", block: header(range.to - 16) });
    for (const log of logs) {
      const { from: giver, to: taker, value } = transfer((log.blockNumber - 1) * PER_BLOCK + log.logIndex);
      if (giver === undefined) supply += value;
      else balances.set(account(giver), (balances.get(account(giver)) ?? 0n) - value);
      balances.set(account(taker), (balances.get(account(taker)) ?? 0n) + value);
    }
    await transaction(db, async tx => {
      const { rows } = await tx.query<{ queue: string; events: number[] }>(
        "select queue, array_agg(e order by e) as events from deliveries cross join unnest(events) e where state = 'pending' group by queue",
      );
      for (const { queue, events: positions } of rows) {
        const { projection } = app.routes.find(route => route.queue === queue)!;
        await projection?.apply(
          tx,
          (await readEvents(tx, CHAIN, positions)).map(row => toJournalEvent(app, row)),
        );
      }
      await tx.query("update deliveries set state = 'done', done_at = clock_timestamp() where state = 'pending'");
    });
  }
}

const options = { db, rpc, source, app, chainId: CHAIN, contracts, window: 1_000 };
async function measure(what: string, run: () => Promise<{ ok: boolean; failures: unknown[]; from: number; to: number }>): Promise<void> {
  let peak = 0;
  const watch = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage().rss);
  }, 20);
  const began = performance.now();
  const { ok, failures, from, to } = await run();
  clearInterval(watch);
  const seconds = ((performance.now() - began) / 1_000).toFixed(2);
  process.stdout.write(`${what.padEnd(44)} ${seconds.padStart(8)} s   blocks ${from} to ${to}   peak ${Math.round(peak / 2 ** 20)} MB\n`);
  if (!ok) throw new Error(JSON.stringify(failures.slice(0, 3)));
}

const seeded = performance.now();
await grow(TOTAL);
await db.query("analyze");
process.stdout.write(`seeded ${TOTAL} events of ${ACCOUNTS} accounts in ${Math.round((performance.now() - seeded) / 1_000)} s\n`);
await measure("incremental, the first: builds the shadows", () => auditSince(options));
await measure("incremental, nothing new", () => auditSince(options));
for (let i = 1; i <= 3; i++) {
  await grow(LATER);
  await measure(`incremental, ${LATER} new events`, () => auditSince(options));
}
await measure("full", () => audit(options));
await base.close();
