/**
 * The whole suite: checks, contracts, and everything below test/ against a real Postgres and a real Redis.
 *
 *     npm test
 *     node test/run.ts --only listener          # or contracts, e2e, faults, check
 *     node test/run.ts relay follow             # test files whose path contains one of these
 *
 * The last line is `N passed, N failed`. Without redis-server its tests are skipped, aloud; with CI=true or
 * SLUICE_REQUIRE_REDIS=1 that counts as a failure.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import pg from "pg";
import { openPostgres } from "../listener/embedded/postgres.ts";
import { noAnvil } from "./support/anvil.ts";
import { add, type Counts, countMocha, countNode, none, summaryLine } from "./support/counts.ts";
import { findRedisServer, installRedisServer, startRedisServer } from "./support/redis-server.ts";

const PARTS = ["check", "contracts", "listener", "e2e", "faults"] as const;
type Part = (typeof PARTS)[number];

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);
const { values, positionals: filters } = parseArgs({ options: { only: { type: "string" } }, allowPositionals: true });
if (values.only !== undefined && !PARTS.includes(values.only as Part)) {
  console.error(`--only ${values.only}: expected one of ${PARTS.join(", ")}`);
  process.exit(2);
}
const wants = (part: Part) => (values.only ? values.only === part : filters.length === 0 || part === "listener" || part === "e2e");

const scratch = mkdtempSync(join(tmpdir(), "sluice-test-"));
// The embedded Postgres runs as a user of its own, which must be able to enter.
chmodSync(scratch, 0o755);
const environment: NodeJS.ProcessEnv = {
  ...process.env,
  PATH: `${join(root, "node_modules", ".bin")}${delimiter}${process.env.PATH}`,
};
// The suite's processes get their settings from the tests alone.
for (const name of [
  "RPC_URL",
  "DATABASE_URL",
  "REDIS_URL",
  "DEPLOYMENT",
  "FINALITY",
  "API_KEYS",
  "DATA_DIR",
  "PORT",
  "HOST",
  "LOG_LEVEL",
]) {
  delete environment[name];
}

const closing: (() => Promise<void>)[] = [async () => rmSync(scratch, { recursive: true, force: true })];
const notes: string[] = [];
let total = none;
let askedForRedis = false;

for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.once(name, () => void cleanUp().finally(() => process.exit(130)));
}

try {
  if (wants("check")) await part("format, lint, types", () => countExit("npm", ["run", "--silent", "check"]));
  if (wants("contracts")) await part("contracts", contracts);
  if (wants("listener") || wants("e2e")) {
    const files = testFiles();
    if (files.length === 0) throw new Error(`no test file matches ${filters.join(" ")}`);
    await startServers();
    await part(`${files.length} files of tests`, () => nodeTests(files));
  }
  if (wants("faults") && noAnvil) notes.push(`\nSKIPPED: the faults, because ${noAnvil}`);
  else if (wants("faults") && requireRedis()) await part("faults", faults);
} catch (error) {
  console.error(error);
  total = add(total, { ...none, failed: 1 });
} finally {
  await cleanUp();
}
for (const note of notes) console.log(note);
console.log(summaryLine(total));
process.exit(total.failed > 0 ? 1 : 0);

async function part(title: string, run: () => Promise<Counts>): Promise<void> {
  console.log(`\n── ${title}`);
  const began = Date.now();
  const counts = await run();
  total = add(total, counts);
  console.log(`── ${title}: ${summaryLine(counts)} (${Math.round((Date.now() - began) / 1_000)} s)`);
}

/**
 * The contracts' own suites (Solidity beside the contracts, TypeScript in test/contracts), and what holds those to account:
 * nothing uncovered, no gas spent unnoticed, no deliberate fault overlooked.
 */
async function contracts(): Promise<Counts> {
  let counts = await countSuite("npm", ["run", "--silent", "test:contracts"]);
  for (const command of ["coverage:contracts", "gas:check", "mutants:contracts"]) {
    counts = add(counts, await countExit("npm", ["run", "--silent", command]));
  }
  return counts;
}

/** What becomes of every event when things break. */
function faults(): Promise<Counts> {
  return countSuite("npm", ["run", "--silent", "test:faults"]);
}

function testFiles(): string[] {
  const all = globSync("test/**/*.test.ts").filter(file => !file.startsWith(join("test", "contracts")));
  const isE2e = (file: string) => file.startsWith(join("test", "e2e"));
  const wanted = all.filter(file => wants(isE2e(file) ? "e2e" : "listener"));
  return wanted.filter(file => filters.length === 0 || filters.some(filter => file.includes(filter))).sort();
}

/** One Postgres and one Redis for all tests; each test file makes a database of its own in the one, a prefix in the other. */
async function startServers(): Promise<void> {
  const postgres = await openPostgres({ dataDir: join(scratch, "postgres") });
  closing.push(() => postgres.close());
  await forgoDurability(postgres.url);
  environment.SLUICE_TEST_DATABASE_URL = postgres.url;

  if (!requireRedis()) return;
  const redis = await startRedisServer();
  closing.push(() => redis.remove());
  environment.SLUICE_TEST_REDIS_URL = redis.url;
}

/** Whether there is a redis-server now. Where there is none it is tried to install one, and said aloud that what needs it is skipped. */
function requireRedis(): boolean {
  if (findRedisServer()) return true;
  if (askedForRedis) return false;
  askedForRedis = true;
  console.log("redis-server is not installed: trying to install it");
  const missing = installRedisServer();
  if (missing === undefined) return true;
  notes.push(`\nSKIPPED: every test that needs Redis, because ${missing}`);
  if (process.env.CI === "true" || process.env.SLUICE_REQUIRE_REDIS === "1") {
    notes.push("FAILED: here Redis is required (CI=true or SLUICE_REQUIRE_REDIS=1)");
    total = add(total, { ...none, failed: 1 });
  }
  return false;
}

/** Nobody needs a test's rows after a power cut, and hundreds of databases are made faster without flushing. */
async function forgoDurability(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  for (const setting of ["fsync", "synchronous_commit", "full_page_writes"]) await client.query(`alter system set ${setting} = off`);
  await client.query("select pg_reload_conf()");
  await client.end();
}

async function nodeTests(files: string[]): Promise<Counts> {
  const report = join(scratch, "counts");
  const { code } = await run(process.execPath, [
    "--test",
    "--test-concurrency=2",
    "--test-timeout=600000",
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
    "--test-reporter=./test/support/count-reporter.ts",
    `--test-reporter-destination=${report}`,
    ...files,
  ]);
  const counts = existsSync(report) ? countNode(readFileSync(report, "utf8")) : none;
  return code !== 0 && counts.failed === 0 ? add(counts, { ...none, failed: 1 }) : counts;
}

/** A suite that prints `N passing`. One that fails without saying so, or runs nothing at all, counts as one failure. */
async function countSuite(command: string, args: string[]): Promise<Counts> {
  const { code, output } = await run(command, args);
  const counts = countMocha(output);
  const silent = counts.failed === 0 && (code !== 0 || counts.passed === 0);
  return silent ? add(counts, { ...none, failed: 1 }) : counts;
}

/** A step that only succeeds or fails. */
async function countExit(command: string, args: string[]): Promise<Counts> {
  const { code } = await run(command, args);
  return code === 0 ? { ...none, passed: 1 } : { ...none, failed: 1 };
}

async function run(command: string, args: string[]): Promise<{ code: number; output: string }> {
  const child = spawn(command, args, { env: environment, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const show = (chunk: Buffer) => {
    process.stdout.write(chunk);
    output += chunk;
  };
  child.stdout.on("data", show);
  child.stderr.on("data", show);
  const stop = async () => void child.kill();
  closing.push(stop);
  const [code] = (await once(child, "close")) as [number | null];
  closing.splice(closing.indexOf(stop), 1);
  return { code: code ?? 1, output };
}

async function cleanUp(): Promise<void> {
  for (const close of closing.splice(0).reverse()) await close().catch(error => console.error(error));
}
