import { randomBytes } from "node:crypto";
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { SluiceError } from "../errors.ts";
import {
  type Account,
  accountFor,
  binariesFor,
  clusterElsewhere,
  isAbandoned,
  mayUse,
  noteHome,
  orphanedClusters,
  removeCluster,
} from "./postgres-account.ts";
import { type Cluster, findServer, initialise, type Server, startServer, stopServer, USER } from "./postgres-server.ts";
import { withProcessLock } from "./process-lock.ts";
import { livingProcesses, register } from "./process-registry.ts";

/** What a process holds while it uses the local database. `close` is idempotent. */
export type LocalPostgres = { url: string; startedHere: boolean; close(): Promise<void> };

/** Paths below `<dataDir>/postgres`; the cluster itself may lie elsewhere, and `location` says where. */
type Files = { home: string; lock: string; users: string; password: string; location: string; port: string; log: string; cluster: string };

/**
 * Opens the Postgres that all processes of one data directory share. The first starts it (and makes the cluster if
 * there is none), later ones join, and the last one to `close` stops it in order. A server whose processes were all
 * killed goes on running, and the next to open adopts it.
 *
 * It listens on 127.0.0.1 alone, at a port that was free, and asks for a random password that lies in the data
 * directory, readable by its owner. `log` gets a line when something takes time or was mended.
 * Throws SluiceError with a hint when it cannot be started.
 */
export async function openPostgres(options: { dataDir: string; log?: (line: string) => void }): Promise<LocalPostgres> {
  const files = filesOf(options.dataDir);
  const log = options.log ?? (() => {});
  return withProcessLock(files.lock, async () => {
    const registration = register(files.users);
    try {
      const cluster = await prepare(files, log);
      const running = await findServer(cluster);
      const server = running ?? (await startServer(cluster, lastPort(files)));
      write(files.port, String(server.port));
      return { url: urlOf(files, server), startedHere: running === undefined, close: closeOnce(files, registration) };
    } catch (error) {
      registration.unregister();
      throw error;
    }
  });
}

/**
 * Stops the local database of `dataDir` and removes it with everything in it; answers false if there was none.
 * Refuses, with a SluiceError that names their pids, while living processes use it.
 */
export async function resetPostgres(options: { dataDir: string }): Promise<boolean> {
  if (!existsSync(join(options.dataDir, "postgres"))) return false;
  const files = filesOf(options.dataDir);
  return withProcessLock(files.lock, async () => {
    const pids = [...new Set(livingProcesses(files.users))];
    if (pids.length > 0) {
      throw new SluiceError(`the local database is in use by process ${pids.join(", ")}`, {
        hint: `stop ${pids.length === 1 ? "it" : "them"} first (Ctrl-C, or \`kill ${pids.join(" ")}\`), then run the command again`,
      });
    }
    const directory = clusterDirectory(files);
    if (directory) {
      await stopIfRunning(files, directory);
      removeCluster(directory);
    }
    // The lock's file stays: a process that waits for it must not end up with a lock of its own.
    for (const name of readdirSync(files.home)) {
      if (join(files.home, name) !== files.lock) rmSync(join(files.home, name), { recursive: true, force: true });
    }
    return true;
  });
}

function filesOf(dataDir: string): Files {
  try {
    mkdirSync(join(dataDir, "postgres"), { recursive: true });
  } catch (cause) {
    throw new SluiceError(`the data directory ${dataDir} cannot be made: ${(cause as Error).message}`, {
      hint: "give DATA_DIR a directory that you can write to",
      cause,
    });
  }
  const home = join(realpathSync(dataDir), "postgres");
  const at = (name: string): string => join(home, name);
  return {
    home,
    lock: at("lock"),
    users: at("users"),
    password: at("password"),
    location: at("location.json"),
    port: at("port"),
    log: at("server.log"),
    cluster: at("data"),
  };
}

function closeOnce(files: Files, registration: { unregister(): void }): () => Promise<void> {
  let closing: Promise<void> | undefined;
  return () =>
    (closing ??= withProcessLock(files.lock, async () => {
      registration.unregister();
      const directory = clusterDirectory(files);
      if (directory && livingProcesses(files.users).length === 0) await stopIfRunning(files, directory);
    }));
}

async function stopIfRunning(files: Files, directory: string): Promise<void> {
  const account = accountFor(directory);
  const cluster = { directory, account, binaries: await binariesFor(account), log: files.log };
  if (await findServer(cluster)) await stopServer(cluster);
}

/** The cluster, made if there is none. Called under the lock. */
async function prepare(files: Files, log: (line: string) => void): Promise<Cluster> {
  const existing = clusterDirectory(files);
  const account = accountFor(existing);
  const binaries = await binariesFor(account);
  const recorded = recordedLocation(files);
  const directory = existing ?? (await newClusterDirectory(files, account));
  const cluster = { directory, account, binaries, log: files.log };
  if (existing) {
    if (!(await mayUse(account, existing))) throw unreachable(existing, account);
    if (existing !== files.cluster) setLocation(files, existing);
    return cluster;
  }
  log(recorded ? `the local database in ${recorded} is gone: making a new one` : "making the local database");
  await makeCluster(files, cluster);
  return cluster;
}

/** Where a finished cluster lies, or undefined. One that is unfinished is moved aside: it may be somebody's data. */
function clusterDirectory(files: Files): string | undefined {
  const directory = recordedLocation(files) ?? files.cluster;
  if (!existsSync(directory)) return undefined;
  if (existsSync(join(directory, "PG_VERSION")) && existsSync(join(directory, "global", "pg_control"))) return directory;
  renameSync(directory, `${directory}.unfinished-${Date.now()}`);
  return undefined;
}

/** The place that was chosen for this data directory, unless it is another's: a copied data directory must not share the original's. */
function recordedLocation(files: Files): string | undefined {
  const recorded = readLocation(files.location);
  if (!recorded) return undefined;
  const isCopy = recorded.of !== files.home && readLocation(join(recorded.of, "location.json"))?.directory === recorded.directory;
  return isCopy ? undefined : recorded.directory;
}

function readLocation(file: string): { directory: string; of: string } | undefined {
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined;
}

async function newClusterDirectory(files: Files, account: Account): Promise<string> {
  if (await mayUse(account, files.home)) {
    rmSync(files.location, { force: true });
    return files.cluster;
  }
  await sweepOrphans(files);
  // A place that was chosen but has no cluster may have one that was begun, which goes.
  const directory = recordedLocation(files) ?? clusterElsewhere(files.home);
  setLocation(files, directory);
  return directory;
}

/** Both ways, and again at each start: the data directory may have been moved. */
function setLocation(files: Files, directory: string): void {
  noteHome(directory, files.home);
  write(files.location, JSON.stringify({ directory, of: files.home }));
}

/** Where processes were killed and their data directory deleted, nobody else would ever stop the server. */
async function sweepOrphans(files: Files): Promise<void> {
  for (const left of orphanedClusters()) {
    if (existsSync(left)) await stopIfRunning(files, left);
    if (isAbandoned(left)) removeCluster(left);
  }
}

/**
 * Makes the cluster beside its place and renames it there when it is complete, so that a kill on the way leaves
 * nothing that could be taken for one; what earlier kills left is removed.
 */
async function makeCluster(files: Files, cluster: Cluster): Promise<void> {
  const { directory, account } = cluster;
  removeLeftovers(directory);
  const password = randomBytes(24).toString("base64url");
  const partial = `${directory}.part-${randomBytes(4).toString("hex")}`;
  const data = join(partial, "data");
  const passwordFile = join(partial, "password");
  for (const path of [partial, data]) {
    mkdirSync(path, { mode: 0o700 });
    own(path, account);
  }
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  own(passwordFile, account);
  try {
    await initialise({ ...cluster, directory: data }, passwordFile);
    // The password first: without it a finished cluster would be locked.
    write(files.password, password);
    renameSync(data, directory);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

function removeLeftovers(directory: string): void {
  const parent = dirname(directory);
  for (const name of readdirSync(parent)) {
    const path = join(parent, name);
    // An initdb whose parent was killed may still be writing; what it adds goes the next time.
    if (path.startsWith(`${directory}.part-`)) rmSync(path, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Whole or not at all, and for its owner alone. */
function write(file: string, text: string): void {
  writeFileSync(`${file}.part`, text, { mode: 0o600 });
  renameSync(`${file}.part`, file);
}

function own(path: string, { uid, gid }: Account): void {
  if (uid !== undefined && gid !== undefined) chownSync(path, uid, gid);
}

function unreachable(directory: string, account: Account): SluiceError {
  return new SluiceError(`the local database in ${directory} cannot be read by the account it belongs to (uid ${account.uid})`, {
    hint: "let every user enter the directories above it (chmod o+x), or `npm run reset` to make it anew where it can be read",
  });
}

function lastPort(files: Files): number | undefined {
  const port = existsSync(files.port) ? Number(readFileSync(files.port, "utf8")) : 0;
  return port > 0 && port < 65536 ? port : undefined;
}

function urlOf(files: Files, { port }: Server): string {
  if (!existsSync(files.password)) {
    throw new SluiceError(`the password of the local database is missing (${files.password})`, {
      hint: "put the file back, or `npm run reset` to start afresh",
    });
  }
  const password = readFileSync(files.password, "utf8");
  return `postgresql://${USER}:${password}@127.0.0.1:${port}/postgres`;
}
