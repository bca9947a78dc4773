/**
 * Load on the API: requests at a fixed rate, and readers of the stream, from this process to one `serve`.
 *
 *     node bench/api-load.ts                       # live: start with its traffic, 200 readers, 200 requests/s for 60 s
 *     node bench/api-load.ts --events 1000000      # a seeded journal instead, reads alone
 *
 * `--readers`, `--rate`, `--for` (seconds), `--seed`. A request's latency counts from when it was due, not from when it was sent:
 * what waits behind a slow one is late as well. Fails where a request failed, a reader was lost, or memory grew.
 */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Pool } from "undici";
import { MIGRATIONS } from "../listener/commands/process.ts";
import { migrate, openDb, sleep } from "../listener/db.ts";
import { openPostgres } from "../listener/embedded/postgres.ts";
import { randomFrom } from "../scripts/support/random.ts";
import { eventually } from "../test/support/eventually.ts";
import { freePort } from "../test/support/ports.ts";
import { sluice } from "../test/support/processes.ts";
import { PEOPLE, personAt, seedJournal } from "./api-seed.ts";
import { type Heap, inspectable, type Memory, openHeap } from "./heap.ts";

const CHAIN = 31_337;
/** What memory may grow by and still be called flat. */
const GROWTH = 1.05;
const { values } = parseArgs({
  options: {
    events: { type: "string" },
    readers: { type: "string" },
    rate: { type: "string", default: "200" },
    for: { type: "string", default: "60" },
    seed: { type: "string", default: "1" },
  },
});
const seeded = values.events ? Number(values.events) : undefined;
const readers = Number(values.readers ?? (seeded ? 0 : 200));
const [rate, seconds] = [Number(values.rate), Number(values.for)];
console.log(`${seeded ? `${seeded} seeded events` : "live"}, ${readers} readers, ${rate} requests/s for ${seconds} s, seed ${values.seed}`);

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

if (seeded) {
  const db = openDb(postgres.url);
  await migrate(db, MIGRATIONS);
  const began = performance.now();
  await seedJournal(db, CHAIN, seeded);
  console.log(`seeded in ${Math.round((performance.now() - began) / 1_000)} s`);
  await db.end();
  writeFileSync(environment.DEPLOYMENT, JSON.stringify({ chainId: CHAIN, contracts: { SluiceToken: { address: personAt(1), block: 1 } } }));
} else {
  const system = sluice("start", { ...environment, PORT: String(await freePort()) });
  stack.defer(async () => void (await system.end()));
  await system.said(/traffic/, 60_000);
}
const inspector = await freePort();
const server = sluice("serve", { ...environment, ...inspectable(inspector) });
stack.defer(async () => void (await server.end()));
const url = `http://127.0.0.1:${port}`;
await eventually(async () => (await fetch(`${url}/api/v1/status`)).ok, { timeout: 30_000 });

const random = randomFrom(Number(values.seed));
const paths = await findPaths();
const taken = Array.from({ length: readers }, () => openReader());
stack.defer(() => taken.forEach(reader => void reader.close()));
await eventually(() => taken.every(reader => reader.isOpen()), { timeout: 30_000 });
const memory = watchMemory(await openHeap(inspector));
const latencies = await load();
const series = await memory.stop();
const flat = isFlat(series);

const sorted = latencies.times.sort((a, b) => a - b);
const at = (share: number) => Math.round(10 * sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!) / 10;
const counts = taken.map(reader => reader.events());
console.log("memory of serve, MB: resident; then, once the garbage is collected: kept of that, held by scripts, held in buffers");
console.table(series);
console.log(
  JSON.stringify(
    {
      requests: sorted.length,
      failed: latencies.failed,
      milliseconds: { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) },
      slowest: latencies.slowest(),
      flat,
      ...(readers ? { eventsPerReader: { least: Math.min(...counts), most: Math.max(...counts) } } : {}),
      outOfOrder: taken.filter(reader => !reader.inOrder()).length,
      brokenOff: taken.filter(reader => !reader.isOpen()).length,
    },
    null,
    2,
  ),
);
process.exitCode = latencies.failed > 0 || !flat || taken.some(reader => !reader.inOrder() || !reader.isOpen()) ? 1 : 0;

/** A request of each kind, with people and events chosen anew each time. */
async function findPaths(): Promise<(() => string)[]> {
  type Page = { items: { id: string; position: number; transactionHash: string; block: { number: number } }[]; nextCursor: string | null };
  const page = await eventually(async () => {
    const found = (await (await fetch(`${url}/api/v1/events?limit=100`)).json()) as Page;
    return found.items.length > 20 ? found : undefined;
  });
  const people = async (): Promise<string[]> => {
    if (seeded) return [];
    const { items } = (await (await fetch(`${url}/api/v1/accounts?limit=100`)).json()) as { items: { address: string }[] };
    return items.map(({ address }) => address);
  };
  const known = await people();
  const one = random.pick;
  const person = () => (known.length > 0 ? one(known) : personAt(1 + random.below(PEOPLE)));
  const event = () => one(page.items);
  const graphql = () => {
    const query = `{ status { lag } events(limit: 10) { items { id deliveries { queue state } } } account(address: "${person()}") { balance } }`;
    return `/graphql?query=${encodeURIComponent(query)}`;
  };
  const reads = [
    () => "status",
    () => "statistics",
    () => "queues",
    () => `activity?window=${one(["15m", "1h", "24h"])}`,
    () => "events",
    () => `events?name=Transfer&limit=20${page.nextCursor ? `&cursor=${page.nextCursor}` : ""}`,
    () => "events?status=finalized&limit=20",
    () => `events/${event().id}`,
    () => `transactions/${event().transactionHash}`,
    () => `blocks/${event().block.number}`,
    () => "accounts?limit=20",
    () => `accounts/${person()}`,
    () => `accounts/${person()}/transfers?limit=20`,
    () => `accounts/${person()}/history?limit=100`,
  ];
  return [...reads.map(read => () => `/api/v1/${read()}`), graphql];
}

async function load() {
  const pool = new Pool(url, { connections: 64, pipelining: 1 });
  const times: number[] = [];
  const byKind = new Map<number, number[]>();
  let failed = 0;
  const began = performance.now();
  const under: Promise<void>[] = [];
  for (let n = 0; n < rate * seconds; n += 1) {
    const due = began + (n * 1_000) / rate;
    const wait = due - performance.now();
    if (wait > 1) await sleep(wait);
    const kind = n % paths.length;
    const ask = async () => {
      const { statusCode, body } = await pool.request({ path: paths[kind]!(), method: "GET" });
      await body.dump();
      if (statusCode !== 200) failed += 1;
      const time = performance.now() - due;
      times.push(time);
      byKind.set(kind, [...(byKind.get(kind) ?? []), time]);
    };
    under.push(
      ask().catch(() => {
        failed += 1;
      }),
    );
  }
  await Promise.all(under);
  await pool.close();
  return {
    times,
    failed,
    slowest() {
      const p99 = (list: number[]) => list.sort((a, b) => a - b)[Math.floor(0.99 * list.length)]!;
      const rows = [...byKind].map(([kind, list]) => ({ path: paths[kind]!().slice(0, 40), p99: Math.round(p99(list)) }));
      return rows.sort((a, b) => b.p99 - a.p99).slice(0, 5);
    },
  };
}

/** A reader of the stream that counts events and looks whether their places only ever go up. */
function openReader() {
  let [events, last, ordered, open, rest] = [0, -1, true, false, ""];
  const request = get(`${url}/api/v1/stream`, response => {
    open = response.statusCode === 200;
    response.setEncoding("utf8");
    response.on("data", (chunk: string) => {
      const text = rest + chunk;
      const end = text.lastIndexOf("\n\n") + 2;
      rest = text.slice(end);
      for (const [, position] of text.slice(0, end).matchAll(/^event: event\nid: (\d+)-/gm)) {
        events += 1;
        ordered &&= Number(position) > last;
        last = Number(position);
      }
    });
    response.on("close", () => (open = false));
    response.on("error", () => {});
  });
  request.on("error", () => (open = false));
  return { events: () => events, inOrder: () => ordered, isOpen: () => open, close: () => request.destroy() };
}

/** Looks at the memory of the server as the load begins, after each third of it, and when it is over. */
function watchMemory(heap: Heap) {
  const series: ({ second: number } & Memory)[] = [];
  const look = async (second: number) => void series.push({ second, ...(await heap.look()) });
  const looks: Promise<void>[] = [look(0)];
  const timers = [1, 2].map(third => setTimeout(() => looks.push(look(Math.round((third * seconds) / 3))), (third * seconds * 1_000) / 3));
  return {
    async stop() {
      for (const timer of timers) clearTimeout(timer);
      await Promise.all(looks);
      await look(seconds);
      heap.close();
      return series;
    },
  };
}

/**
 * Memory is flat where what scripts and buffers hold grows by no more than a twentieth from the first third to the end. What
 * is resident says less: it has the garbage that was not worth collecting yet, the more the busier the machine is.
 */
function isFlat(series: readonly Memory[]): boolean {
  const [, first, ...rest] = series.map(({ heap, buffers }) => heap + buffers);
  return rest.every(held => held <= GROWTH * first!);
}
