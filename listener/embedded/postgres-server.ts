import { execFile, execFileSync, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, readlinkSync, realpathSync, rmSync, statSync, truncateSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { SluiceError } from "../errors.ts";
import type { Account, Binaries } from "./postgres-account.ts";
import { isAlive } from "./process-registry.ts";

/** A cluster on disk and what is needed to run it. `log` takes the server's messages; `settings` go before ours. */
export type Cluster = { directory: string; account: Account; binaries: Binaries; log: string; settings?: Record<string, string> };

/** A running server: the postmaster's process and its port on 127.0.0.1. */
export type Server = { pid: number; port: number };

export const USER = "sluice";

const START_TIMEOUT_MS = 30_000;
const LOG_LIMIT_BYTES = 4 * 1024 * 1024;

/**
 * For a small machine that also runs everything else. Durability stays on: `fsync`, `full_page_writes` and
 * `synchronous_commit` keep their defaults. No parallel workers, so no need of /dev/shm, which containers keep small.
 */
const SETTINGS = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  max_connections: "200",
  shared_buffers: "256MB",
  max_wal_size: "2GB",
  wal_level: "minimal",
  max_wal_senders: "0",
  max_parallel_workers_per_gather: "0",
  io_method: "sync",
  jit: "off",
  timezone: "UTC",
  log_timezone: "UTC",
  log_checkpoints: "off",
};

/** Programs find their locale and time zone here and not in the user's shell: the same cluster on every machine. */
const environment = (): NodeJS.ProcessEnv => ({ PATH: process.env.PATH, SYSTEMROOT: process.env.SYSTEMROOT, LC_ALL: "C", TZ: "UTC" });

/**
 * Makes an empty cluster in `directory`, which must exist, be empty and belong to the account.
 * Code-point collation and UTF-8 come with Postgres itself, so no locale of the system matters.
 */
export async function initialise({ directory, account, binaries }: Cluster, passwordFile: string): Promise<void> {
  const locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--encoding=UTF8"];
  const access = [`--username=${USER}`, "--auth=scram-sha-256", `--pwfile=${passwordFile}`];
  await run(binaries.initdb, ["-D", directory, ...locale, ...access, "--no-sync", "--no-instructions"], account);
  // One sync of all files at the end instead of one per step; Linux does it with a single call.
  const method = process.platform === "linux" ? ["--sync-method=syncfs"] : [];
  await run(binaries.initdb, ["-D", directory, "--sync-only", ...method], account);
}

/** The server that runs on this cluster, whoever started it; waits for one that is starting. Undefined if there is none. */
export async function findServer(cluster: Cluster): Promise<Server | undefined> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const { pid, port, status } = readPidFile(cluster.directory);
    if (!pid || !isAlive(pid)) return undefined;
    if (!isPostmasterOf(pid, cluster.directory)) {
      // The pid was given to another program since, and Postgres would refuse to start beside it.
      rmSync(`${cluster.directory}/postmaster.pid`, { force: true });
      return undefined;
    }
    if (port && status === "ready") return { pid, port };
    if (Date.now() > deadline) throw notReady(cluster, 0, `process ${pid} is not ready after ${START_TIMEOUT_MS / 1000} s`);
    await sleep(10);
  }
}

/**
 * Starts the server in a session of its own, so that neither Ctrl-C nor the death of this process reaches it.
 * Takes `preferredPort` if it is free, so that others find the server again. Throws SluiceError with the log's tail.
 */
export async function startServer(cluster: Cluster, preferredPort: number | undefined): Promise<Server> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort(attempt === 1 ? preferredPort : undefined);
    const logStart = openedLogSize(cluster.log);
    const pid = launch(cluster, port);
    if (await becomesReady(cluster, pid)) return { pid, port };
    const said = tail(cluster.log, logStart);
    // Taken by somebody else since we looked, or processes of a killed server that are still on their way out.
    const passing = /could not bind|Address already in use|shared memory block .* still in use/i.test(said);
    if (!passing || attempt === 5) throw notReady(cluster, logStart, `it stopped while starting`);
    await sleep(200 * attempt);
  }
}

/** Stops the server in order: connections are closed, everything is on disk. */
export async function stopServer({ directory, account, binaries }: Cluster): Promise<void> {
  await run(binaries.pg_ctl, ["stop", "-D", directory, "-m", "fast", "-w", "-t", "60", "--silent"], account);
}

function launch({ directory, account, binaries, log, ...own }: Cluster, port: number): number {
  const settings = Object.entries({ ...SETTINGS, ...own.settings }).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const output = openSync(log, "a", 0o600);
  try {
    const server = spawn(binaries.postgres, ["-D", directory, "-p", String(port), ...settings], {
      ...account,
      cwd: "/",
      env: environment(),
      detached: true,
      stdio: ["ignore", output, output],
      windowsHide: true,
    });
    server.on("error", () => {}); // Without a pid it is not alive, and becomesReady() says so.
    server.unref();
    return server.pid ?? -1;
  } finally {
    closeSync(output);
  }
}

async function becomesReady(cluster: Cluster, pid: number): Promise<boolean> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (pid > 0 && isAlive(pid) && Date.now() < deadline) {
    const found = readPidFile(cluster.directory);
    if (found.pid === pid && found.status === "ready") return true;
    await sleep(5);
  }
  if (pid > 0 && isAlive(pid)) process.kill(pid, "SIGINT");
  return false;
}

function readPidFile(directory: string): { pid?: number; port?: number; status?: string } {
  let lines: string[];
  try {
    lines = readFileSync(`${directory}/postmaster.pid`, "utf8").split("\n");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw error;
  }
  return { pid: Number(lines[0]), port: Number(lines[3]), status: lines[7]?.trim() };
}

/** A postmaster works in its cluster's directory. Without /proc its name must do. */
function isPostmasterOf(pid: number, directory: string): boolean {
  if (process.platform === "win32") return true;
  try {
    if (process.platform === "linux") return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(directory);
    return execFileSync("ps", ["-o", "comm=", "-p", String(pid)], { encoding: "utf8" }).includes("postgres");
  } catch {
    // We may look at what runs under our own account, and root at everything: this one is somebody else's, or gone.
    return false;
  }
}

function freePort(preferred: number | undefined): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", error => (preferred ? resolve(freePort(undefined)) : reject(error)));
    probe.listen(preferred ?? 0, "127.0.0.1", () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}

/** The size before a start. The log of a server that only speaks up when something is wrong is cut when it is large. */
function openedLogSize(log: string): number {
  const size = statSync(log, { throwIfNoEntry: false })?.size ?? 0;
  if (size <= LOG_LIMIT_BYTES) return size;
  truncateSync(log, 0);
  return 0;
}

function tail(log: string, from: number): string {
  try {
    return readFileSync(log).subarray(from).toString("utf8").trim().split("\n").slice(-15).join("\n");
  } catch {
    return "";
  }
}

function notReady(cluster: Cluster, logStart: number, what: string): SluiceError {
  const said = tail(cluster.log, logStart);
  return new SluiceError(`the local Postgres did not start: ${what}${said ? `\n${said}` : ""}`, {
    hint: `${advice(said)} The whole log is in ${cluster.log}.`,
  });
}

function advice(said: string): string {
  if (/incompatible with server|initialized by PostgreSQL version/.test(said))
    return "The data was written by another version of Postgres: `npm run reset` starts afresh.";
  if (/No space left/.test(said)) return "Free some space on the disk and start again.";
  if (/could not create shared memory|could not map anonymous/.test(said)) return "Give the machine or container more memory.";
  if (/invalid primary checkpoint|could not locate a valid checkpoint|PANIC/.test(said))
    return "The data is damaged: `npm run reset` starts afresh, and the chain is read again.";
  return "Start again; if it persists, `npm run reset` starts afresh, or set DATABASE_URL.";
}

function run(program: string, args: string[], account: Account): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { ...account, cwd: "/", env: environment(), windowsHide: true }, (error, stdout, stderr) => {
      if (!error) return resolve();
      const said = `${stdout}\n${stderr}`.trim().split("\n").slice(-15).join("\n");
      reject(new SluiceError(`${program} failed\n${said || error.message}`, { hint: advice(said), cause: error }));
    });
  });
}
