import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { isatty } from "node:tty";
import pino from "pino";

export type Log = pino.Logger;

/** Loaded only where somebody reads. */
const loadPretty = (): typeof import("pino-pretty") => createRequire(import.meta.url)("pino-pretty");

/** What may never reach a log line, whatever object it is logged with. */
const SECRETS = [
  "password",
  "secret",
  "apiKey",
  "apiKeys",
  "authorization",
  "connectionString",
  "*.password",
  "*.secret",
  "*.authorization",
];

/**
 * A logger that writes JSON to `file`, or to standard error where none is given: standard output belongs to data. Where
 * standard error is a person's terminal, it writes for a person.
 *
 * @param level one of pino's levels: fatal, error, warn, info, debug, trace, silent
 */
export function createLog(level: string, file?: string): Log {
  if (file) mkdirSync(dirname(file), { recursive: true });
  const isRead = !file && isatty(2);
  const destination = isRead
    ? loadPretty()({ destination: 2, sync: true, translateTime: "SYS:HH:MM:ss", ignore: "pid,command" })
    : pino.destination({ dest: file ?? 2, sync: true, append: true });
  return pino({ level, base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime, redact: SECRETS }, destination);
}

/**
 * Says a thing once when it begins and once when it ends, however often it happens in between, so that an outage of an
 * hour is two log lines.
 */
export function createOutage(log: Log, what: string) {
  let since: number | undefined;
  return {
    begins(reason: string) {
      if (since === undefined) log.warn({ reason }, `${what}: ${reason}; waiting`);
      since ??= Date.now();
    },
    ends() {
      if (since !== undefined) log.info({ seconds: Math.round((Date.now() - since) / 1000) }, `${what}: back`);
      since = undefined;
    },
  };
}

/** Passes each text on once per `interval` ms. */
export function createThrottle(interval: number, pass: (text: string) => void): (text: string) => void {
  const passed = new Map<string, number>();
  return text => {
    const now = Date.now();
    if (now - (passed.get(text) ?? Number.NEGATIVE_INFINITY) < interval) return;
    if (passed.size > 100) passed.clear();
    passed.set(text, now);
    pass(text);
  };
}
