import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/** A directory of mode 0700 that goes when the test ends, after `before` did what it must. */
export function temporaryDirectory(t: TestContext, before: (path: string) => void | Promise<void> = () => {}): string {
  const path = mkdtempSync(join(tmpdir(), "sluice-test-"));
  t.after(async () => {
    await before(path);
    rmSync(path, { recursive: true, force: true });
  });
  return path;
}

/** Waits until `holds` answers something, and answers that. Throws after a minute. */
export async function until<T>(holds: () => T | undefined | false | Promise<T | undefined | false>, what: string): Promise<T> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const found = await holds();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`timed out waiting until ${what}`);
    await sleep(10);
  }
}

/** A program of this folder in a process (and process group) of its own. It prints a JSON value per line. */
export type Program = {
  pid: number;
  next<T>(): Promise<T>;
  /** Everything printed so far that was not taken by `next`. */
  rest<T>(): T[];
  signal(signal: NodeJS.Signals): void;
  /** The exit code, or the signal's name. */
  ended: Promise<number | string>;
};

export function runProgram(t: TestContext, name: string, ...args: string[]): Program {
  const file = name.startsWith("/") ? name : fileURLToPath(new URL(name, import.meta.url));
  const child: ChildProcess = spawn(process.execPath, [file, ...args], { stdio: ["ignore", "pipe", "inherit"], detached: true });
  const lines: string[] = [];
  createInterface({ input: child.stdout! }).on("line", line => lines.push(line));
  const ended = new Promise<number | string>(resolve => child.once("close", (code, signal) => resolve(code ?? signal ?? "unknown")));
  t.after(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  return {
    pid: child.pid!,
    next: async <T>() => {
      await until(() => lines.length > 0 || child.exitCode !== null, `${name} prints a line`);
      if (lines.length === 0) throw new Error(`${name} ended with exit code ${child.exitCode} before it printed a line`);
      return JSON.parse(lines.shift()!) as T;
    },
    rest: <T>() => lines.splice(0).map(line => JSON.parse(line) as T),
    signal: signal => process.kill(-child.pid!, signal),
    ended,
  };
}
