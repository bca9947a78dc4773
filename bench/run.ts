/**
 * How fast, next to what else there is: chain → applied effect, everything on this machine, in one run.
 *
 *     npm run bench
 *     npm run bench -- --events 1000000 --rounds 1 --only sluice,sqd
 *     npm run bench -- --workers 1,2,4 --only sluice,sluice-nothing
 *
 * See bench/README.md.
 */
import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { sleep } from "../listener/db.ts";
import { run as startProcess } from "../test/support/processes.ts";
import { type BenchChain, makeChain } from "./chain.ts";
import { type Contender, contenders, peers, withWorkers } from "./contenders.ts";
import { startMeter, type Usage } from "./meter.ts";
import { openServers, type Setting } from "./setting.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);
const { values } = parseArgs({
  options: {
    events: { type: "string", default: "200000" },
    rounds: { type: "string", default: "3" },
    only: { type: "string", default: Object.keys(contenders).join(",") },
    workers: { type: "string" },
    json: { type: "string" },
  },
});
const workers = values.workers?.split(",").map(Number);
if (workers?.some(count => !Number.isInteger(count) || count < 1))
  throw new Error(`--workers ${values.workers}: expected numbers such as 1,2,4`);
const chosen = values.only.split(",").flatMap(key => {
  const contender = contenders[key];
  if (!contender) throw new Error(`--only ${key}: expected some of ${Object.keys(contenders).join(", ")}`);
  return workers ? withWorkers(contender, workers) : contender;
});

/** One run of one contender: events per second from its first event to its last, without its start. */
type Measured = { rate: number; start: number; usage: Record<string, Usage> };
type Result = Measured | { failed: string };

/** Milliseconds between two looks at how far a contender is: see `pauseAfter`. */
const POLL = 100;
const LONGEST_PAUSE = 10_000;
const PATIENCE = 15 * 60_000;

async function measure(contender: Contender, setting: Setting, servers: { postmaster: number; redisProcess: number }): Promise<Result> {
  const began = performance.now();
  const processes = contender
    .processes(setting)
    .map(({ args, cwd, environment }) =>
      startProcess("/usr/bin/env", ["-C", cwd ?? root, process.execPath, ...args], { ...setting.environment, ...environment }),
    );
  const meter = startMeter({
    own: processes.map(({ child }) => child.pid!),
    postgres: [servers.postmaster],
    redis: [servers.redisProcess],
  });
  try {
    const { events } = setting.chain;
    let first: Look | undefined;
    for (;;) {
      const count = await progressOf(contender, setting, processes);
      const at = performance.now();
      if (count > 0) first ??= { at, count };
      if (count > events) return { failed: `${count} events done, where the chain has ${events}` };
      if (count === events) {
        const wrong = await wrongSupply(contender, setting);
        if (wrong) {
          // One projection may be ahead of the other.
          if (at - began > PATIENCE) return { failed: wrong };
          await sleep(POLL);
          continue;
        }
        const said = processes.map(({ stdout }) => /^rate (\d+)/m.exec(stdout())?.[1]).find(Boolean);
        const seconds = (at - first!.at) / 1_000;
        const rate = said ? Number(said) : (events - first!.count) / seconds;
        return { rate, start: (first!.at - began) / 1_000, usage: meter.stop() };
      }
      const ended = processes.find(({ child }) => child.exitCode !== null || child.signalCode !== null);
      if (ended) return { failed: `a process ended: ${`${ended.stdout()}${ended.stderr()}`.trim().split("\n").slice(-5).join(" | ")}` };
      if (at - began > PATIENCE) return { failed: `only ${count} of ${events} events after ${PATIENCE / 60_000} min` };
      await sleep(first ? pauseAfter(first, { at, count }, events) : POLL);
    }
  } finally {
    meter.stop();
    await Promise.all(processes.map(({ end }) => end("SIGKILL")));
  }
}

type Look = { at: number; count: number };

/**
 * Half of the time that the rest will take at the rate so far (ms). To count a large table ten times a second would cost
 * Postgres as much as the work that is measured; towards the end the looks are as close as ever.
 */
function pauseAfter(first: Look, last: Look, events: number): number {
  const left = ((events - last.count) * (last.at - first.at)) / (last.count - first.count);
  return Number.isFinite(left) ? Math.max(POLL, Math.min(left / 2, LONGEST_PAUSE)) : POLL;
}

async function progressOf(contender: Contender, setting: Setting, processes: ReturnType<typeof startProcess>[]): Promise<number> {
  if (!contender.progress)
    return Math.max(...processes.map(({ stdout }) => Number(/^done (\d+)\n(?![\s\S]*^done )/m.exec(stdout())?.[1] ?? 0)));
  try {
    const { rows } = await setting.db.query({ text: contender.progress, rowMode: "array" });
    return Number(rows[0]?.[0] ?? 0);
  } catch (error) {
    // It has not made its tables yet.
    if ((error as { code?: string }).code === "42P01" || (error as { code?: string }).code === "3F000") return 0;
    throw error;
  }
}

async function wrongSupply(contender: Contender, { db, chain }: Setting): Promise<string | undefined> {
  if (!contender.supply) return undefined;
  const { rows } = await db.query({ text: contender.supply, rowMode: "array" });
  return BigInt(rows[0]?.[0] ?? 0) === chain.supply ? undefined : `its balances add up to ${rows[0]?.[0]}, not ${chain.supply}`;
}

const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;

async function main(): Promise<void> {
  const [events, rounds] = [Number(values.events), Number(values.rounds)];
  if (chosen.some(({ peer }) => peer) && !existsSync(join(peers, "node_modules"))) {
    console.log("installing what we compare with");
    execFileSync("npm", ["ci", "--no-audit", "--no-fund"], { cwd: peers, stdio: "inherit" });
  }
  const servers = await openServers();
  let chain: BenchChain | undefined;
  const results = new Map<Contender, Result[]>(chosen.map(contender => [contender, []]));
  try {
    console.log(`making a chain with ${events} events`);
    chain = await makeChain(events);
    for (let round = 1; round <= rounds; round++) {
      for (const contender of chosen) {
        const setting = await servers.setting(chain);
        const result = await measure(contender, setting, servers).finally(() => setting.end());
        results.get(contender)!.push(result);
        console.log(
          `round ${round}: ${contender.name}: ${"failed" in result ? `FAILED: ${result.failed}` : `${Math.round(result.rate)} events/s`}`,
        );
      }
    }
  } finally {
    await chain?.close();
    await servers.close();
  }
  report(results, events, rounds);
}

function report(results: Map<Contender, Result[]>, events: number, rounds: number): void {
  const rows = [...results].map(([contender, all]) => {
    const good = all.filter((result): result is Measured => !("failed" in result));
    const failures = all.flatMap(result => ("failed" in result ? [result.failed] : []));
    const of = (pick: (result: Measured) => number) => (good.length > 0 ? median(good.map(pick)) : Number.NaN);
    return {
      name: contender.name,
      does: contender.does,
      rate: of(({ rate }) => rate),
      start: of(({ start }) => start),
      cpu: of(({ usage }) => usage.own!.cpu),
      cpuPostgres: of(({ usage }) => usage.postgres!.cpu),
      cpuRedis: of(({ usage }) => usage.redis!.cpu),
      peakOfOne: of(({ usage }) => usage.own!.peakOfOne),
      peak: of(({ usage }) => usage.own!.peak),
      failures,
    };
  });
  const base = (workers ? rows[0] : rows.find(({ name }) => name === contenders.sluice!.name))?.rate ?? Number.NaN;
  const number = (value: number, digits = 0) =>
    Number.isNaN(value) ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });
  console.log(`\n${events} events, median of ${rounds}, ${cpus().length} cores, Node ${process.version}\n`);
  console.log("| | does | events/s | of ours | start s | CPU s: own, Postgres, Redis | peak MB: one process, all |");
  console.log("|---|---|--:|--:|--:|--:|--:|");
  for (const row of rows) {
    const failed = row.failures.length > 0 ? ` (failed ${row.failures.length} of ${rounds}: ${row.failures[0]})` : "";
    console.log(
      `| ${row.name}${failed} | ${row.does} | ${number(row.rate)} | ${number(row.rate / base, 2)} | ${number(row.start, 1)} | ${number(row.cpu, 1)}, ${number(row.cpuPostgres, 1)}, ${number(row.cpuRedis, 1)} | ${number(row.peakOfOne)}, ${number(row.peak)} |`,
    );
  }
  if (values.json) writeFileSync(values.json, `${JSON.stringify({ events, rounds, rows }, null, 2)}\n`);
}

await main();
