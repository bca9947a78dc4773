import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { SluiceError } from "../errors.ts";

const POLL_MS = 15;

/** Holds an inter-process lock until `release`, or until its process ends in whatever way. */
export type ProcessLock = { release(): void };

/**
 * Runs `work` while no other process (and no other call of this one) holds the lock on `file`, and answers its result.
 * Throws a retryable SluiceError after `timeoutMs`.
 */
export async function withProcessLock<T>(file: string, work: () => Promise<T>, timeoutMs = 60_000): Promise<T> {
  const lock = await acquireProcessLock(file, timeoutMs);
  try {
    return await work();
  } finally {
    lock.release();
  }
}

/**
 * The lock is SQLite's on an empty database, which is the kernel's: it goes with the process that holds it, also by
 * kill -9, so there is never a stale one to guess about. Throws a retryable SluiceError after `timeoutMs`.
 */
export async function acquireProcessLock(file: string, timeoutMs: number): Promise<ProcessLock> {
  const deadline = Date.now() + timeoutMs;
  let database: DatabaseSync | undefined;
  for (;;) {
    try {
      database ??= new DatabaseSync(file);
      database.exec("begin exclusive");
      return { release: () => database?.close() };
    } catch (cause) {
      if (isBusy(cause) && Date.now() < deadline) {
        await sleep(POLL_MS);
        continue;
      }
      database?.close();
      throw isBusy(cause) ? stillHeld(file, timeoutMs, cause) : notOurs(file, cause);
    }
  }
}

function stillHeld(file: string, timeoutMs: number, cause: unknown): SluiceError {
  return new SluiceError(`another process has held ${file} for ${timeoutMs / 1000} s`, {
    hint: "it is starting or stopping what the lock protects: wait for it or end it, then try again",
    cause,
    retryable: true,
  });
}

function notOurs(file: string, cause: unknown): SluiceError {
  return new SluiceError(`cannot lock ${file}: ${(cause as Error).message}`, {
    hint: "run the command as the user whom the data directory belongs to, or give DATA_DIR another one",
    cause,
  });
}

const SQLITE_BUSY = 5;

function isBusy(error: unknown): boolean {
  return (error as { errcode?: number }).errcode === SQLITE_BUSY;
}
