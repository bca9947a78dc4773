/**
 * Load on the API: requests at a fixed rate from this process, and readers of the stream from another, to one `serve`.
 *
 *     node bench/api-load.ts                       # live: start with its traffic, 200 readers, 200 requests/s for 60 s
 *     node bench/api-load.ts --events 1000000      # a seeded journal instead, reads alone
 *
 * `--readers`, `--rate`, `--warm` and `--for` (seconds), `--seed`, `--profile FILE` (of `serve`, while it is measured). A request's
 * latency counts from when it was due, not from when it was sent: what waits behind a slow one is late as well, and so is
 * what this process sends late. How much that is, is told beside. Nothing stops `serve` while it is measured: its garbage is
 * collected, for the memory, after the warming up and at the end. Fails where a request failed, a reader was lost, or memory grew.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { MIGRATIONS } from "../listener/commands/process.ts";
import { migrate, openDb } from "../listener/db.ts";
import { openPostgres } from "../listener/embedded/postgres.ts";
import { randomFrom } from "../scripts/support/random.ts";
import { eventually } from "../test/support/eventually.ts";
import { freePort } from "../test/support/ports.ts";
import { run, sluice } from "../test/support/processes.ts";
import type { Seen } from "./api-readers.ts";
import { findKinds, quantilesOf, sendAtRate } from "./api-requests.ts";
import { personAt, seedJournal } from "./api-seed.ts";
import { inspectable, openHeap } from "./heap.ts";
import { cpuOf, memoryOf } from "./meter.ts";

const CHAIN = 31_337;
/** What memory may grow by and still be called flat. */
const GROWTH = 1.05;
const { values } = parseArgs({
  options: {
    events: { type: "string" },
    readers: { type: "string" },
    rate: { type: "string", default: "200" },
    warm: { type: "string", default: "15" },
    for: { type: "string", default: "60" },
    seed: { type: "string", default: "1" },
    profile: { type: "string" },
  },
});
const seeded = values.events ? Number(values.events) : undefined;
const readers = Number(values.readers ?? (seeded ? 0 : 200));
const [rate, seconds, warm] = [Number(values.rate), Number(values.for), Number(values.warm)];
console.log(
  `${seeded ? `${seeded} seeded events` : "live"}, ${readers} readers, ${rate} requests/s for ${seconds} s after ${warm} s, seed ${values.seed}`,
);

await using stack = new AsyncDisposableStack();
const folder = mkdtempSync(join(tmpdir(), "sluice-load-"));
chmodSync(folder, 0o755);
stack.defer(() => rmSync(folder, { recursive: true, force: true }));
const postgres = await openPostgres({ dataDir: join(folder, "database") });
stack.defer(() => postgres.close());
const port = await freePort();
const environment = {
  DATABASE_URL: postgres.url,
  DATA_DIR: folder,
  DEPLOYMENT: join(folder, "deployment.json"),
  PORT: String(port),
  RATE_LIMIT: "0",
  LOG_LEVEL: "warn",
  NODE_ENV: "production",
};

const db = openDb(postgres.url, { max: 1 });
if (seeded) {
  await migrate(db, MIGRATIONS);
  const began = performance.now();
  await seedJournal(db, CHAIN, seeded);
  // What Postgres does by itself in a journal that grew over days, and would do here while it is measured.
  await db.query("vacuum");
  await db.query("checkpoint");
  console.log(`seeded in ${Math.round((performance.now() - began) / 1_000)} s`);
  writeFileSync(environment.DEPLOYMENT, JSON.stringify({ chainId: CHAIN, contracts: { SluiceToken: { address: personAt(1), block: 1 } } }));
} else {
  const system = sluice("start", { ...environment, PORT: String(await freePort()) });
  stack.defer(async () => void (await system.end()));
  await system.said(/traffic/, 60_000);
}
const { rows } = await db.query<{ data_directory: string }>("show data_directory");
const postmaster = Number(readFileSync(join(rows[0]!.data_directory, "postmaster.pid"), "utf8").split("\n")[0]);
await db.end();
const inspector = await freePort();
// As `npm run serve` starts it, with its flags for V8.
const [, ...command] = (JSON.parse(readFileSync("package.json", "utf8")) as { scripts: { serve: string } }).scripts.serve.split(" ");
const { PATH, HOME } = process.env;
const server = run(process.execPath, command, { PATH, HOME, ...environment, ...inspectable(inspector) });
stack.defer(async () => void (await server.end()));
const url = `http://127.0.0.1:${port}`;
await eventually(async () => (await fetch(`${url}/api/v1/status`)).ok, { timeout: 30_000 });

const kinds = await findKinds(url, randomFrom(Number(values.seed)), seeded !== undefined);
const crowd = fork(new URL("api-readers.ts", import.meta.url), [url, String(readers)]);
stack.defer(() => void (crowd.connected && crowd.disconnect()));
await once(crowd, "message");
await sendAtRate(url, kinds, { rate, seconds: warm });

const heap = await openHeap(inspector);
stack.defer(() => heap.close());
const pid = server.child.pid!;
const before = await heap.look();
const series: { second: number; resident: number }[] = [];
const began = performance.now();
const look = () => series.push({ second: Math.round((performance.now() - began) / 1_000), resident: memoryOf(pid) });
const timer = setInterval(look, (seconds * 1_000) / 6);
const ownCpu = () => (process.cpuUsage().user + process.cpuUsage().system) / 1e6;
const cpus = () => ({ serve: cpuOf([pid]), postgres: cpuOf([postmaster]), requests: ownCpu(), readers: cpuOf([crowd.pid!]) });
const cpuBefore = cpus();
if (values.profile) await heap.startProfile();
const { times, failed } = await sendAtRate(url, kinds, { rate, seconds });
const cpuAfter = cpus();
clearInterval(timer);
if (values.profile) writeFileSync(values.profile, await heap.endProfile());
const after = await heap.look();

crowd.send("what have you seen?");
const [seen] = (await once(crowd, "message")) as [Seen];
const slowest = kinds.map(({ name }) => ({
  name,
  ...quantilesOf(times.filter(({ kind }) => kind === name).map(({ fromDue }) => fromDue)),
}));
const flat = after.heap + after.buffers <= GROWTH * (before.heap + before.buffers);
console.log("memory of serve, MB: resident, as it ran");
console.table(series);
console.table(slowest.sort((a, b) => b.p99 - a.p99));
console.log(
  JSON.stringify(
    {
      requests: times.length,
      failed,
      milliseconds: quantilesOf(times.map(({ fromDue }) => fromDue)),
      sentLate: quantilesOf(times.map(({ late }) => late)),
      cpuSeconds: Object.fromEntries(
        Object.entries(cpuAfter).map(([name, cpu]) => [name, Math.round(10 * (cpu - cpuBefore[name as keyof typeof cpuBefore])) / 10]),
      ),
      memory: { before, after, flat },
      ...(readers ? seen : {}),
    },
    null,
    2,
  ),
);
process.exitCode = failed > 0 || !flat || seen.outOfOrder > 0 || seen.brokenOff > 0 ? 1 : 0;
