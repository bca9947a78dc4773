import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A process as it is written down: `started` tells it from a later one that was given the same pid. */
type Registration = { pid: number; started: string | null };

let registrations = 0;

/** Writes down that this process uses what `folder` stands for; several times if it calls several times. Answers how to take it back. */
export function register(folder: string): { unregister(): void } {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${process.pid}-${++registrations}.json`);
  const entry: Registration = { pid: process.pid, started: startOf(process.pid) };
  writeFileSync(`${file}.part`, JSON.stringify(entry));
  renameSync(`${file}.part`, file);
  return { unregister: () => rmSync(file, { force: true }) };
}

/** The pids of the registered processes that still live, one entry per registration. Those of dead ones are removed. */
export function livingProcesses(folder: string): number[] {
  const living: number[] = [];
  for (const name of entries(folder)) {
    const file = join(folder, name);
    const entry = read(file);
    if (entry && isSameProcess(entry)) living.push(entry.pid);
    else rmSync(file, { force: true });
  }
  return living;
}

/** The process exists and is no zombie: in a container nobody may reap an orphan, and a signal still reaches it. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  return statFields(pid)?.[0] !== "Z";
}

function isSameProcess(entry: Registration): boolean {
  if (!isAlive(entry.pid)) return false;
  const started = startOf(entry.pid);
  return started === null || entry.started === null || started === entry.started;
}

/** When a process started, as an opaque string: clock ticks since boot on Linux, what `ps` says elsewhere, null if unknown. */
function startOf(pid: number): string | null {
  if (process.platform === "win32") return null;
  const fields = statFields(pid);
  if (fields) return `${fields[19]}`;
  try {
    return (
      execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim() || null
    );
  } catch {
    return null;
  }
}

/** /proc/PID/stat from the state on: the name before it is in parentheses and may hold anything, so count from the last one. */
function statFields(pid: number): string[] | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder).filter(name => name.endsWith(".json"));
  } catch {
    return [];
  }
}

function read(file: string): Registration | undefined {
  try {
    const entry = JSON.parse(readFileSync(file, "utf8")) as Registration;
    return Number.isInteger(entry.pid) ? entry : undefined;
  } catch {
    return undefined;
  }
}
