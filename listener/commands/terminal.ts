import { stripVTControlCharacters, styleText } from "node:util";
import progress from "cli-progress";
import type { Recorded } from "../journal/journal.ts";

/** What `start` tells a person: what started, how the backfill goes, a line per event, the jobs per queue. */
export type Terminal = {
  line(text: string): void;
  started(what: string, where: string): void;
  recorded(recorded: Recorded): void;
  settled(settled: { queue: string; events: number; state: "done" | "dead" }): void;
  close(): void;
};

/** Blocks behind the head from which on a progress bar is worth more than a line per event. */
const BACKFILL = 200;
const SUMMARY_EVERY = 5_000;
const MAX_VALUE = 44;

/** For `--json`: standard output belongs to the report. */
export const silentTerminal: Terminal = { line() {}, started() {}, recorded() {}, settled() {}, close() {} };

export function openTerminal(out: NodeJS.WriteStream): Terminal {
  const done = new Map<string, number>();
  let dead = 0;
  let bar: progress.SingleBar | undefined;
  const line = (text: string) => void out.write(`${text}\n`);
  const dim = (text: string) => styleText("dim", text, { stream: out });

  const summary = setInterval(() => {
    if (bar || done.size === 0) return;
    const jobs = [...done].map(([queue, count]) => `${queue} ${count}`).join("  ");
    line(dim(`  jobs done: ${jobs}${dead ? `  dead letters ${dead}` : ""}`));
  }, SUMMARY_EVERY);

  /** During a backfill the bar stands for the events; it closes itself at the head. */
  function backfills({ update }: Recorded): boolean {
    if (update.type !== "extend") return bar !== undefined;
    const at = update.headers.at(-1)!.number;
    if (!bar && update.head - at < BACKFILL) return false;
    if (!bar) {
      bar = new progress.SingleBar({
        stream: out,
        format: "  backfill {bar} {percentage} %  block {value} of {total}  {speed} blocks/s  {eta_formatted} left",
        hideCursor: true,
        noTTYOutput: true,
        notTTYSchedule: 2_000,
        etaBuffer: 50,
      });
      bar.start(update.head, at, { speed: "…" });
      began = { at, time: performance.now() };
    }
    bar.setTotal(update.head);
    bar.update(at, { speed: Math.round(((at - began.at) * 1_000) / Math.max(1, performance.now() - began.time)) });
    if (at < update.head) return true;
    bar.stop();
    bar = undefined;
    return true;
  }
  let began = { at: 0, time: 0 };

  return {
    line,
    started: (what, where) => line(`  ${styleText("green", "✓", { stream: out })} ${what.padEnd(10)} ${where}`),
    recorded(recorded) {
      if (backfills(recorded)) return;
      const { update, events, orphaned } = recorded;
      for (const { log, decoded } of events) {
        const values = Object.entries(decoded.arguments ?? { error: decoded.error ?? "" }).map(
          ([name, value]) => `${name} ${shorten(value)}`,
        );
        line(
          `  ${dim(String(log.blockNumber).padStart(7))}  ${styleText("cyan", (decoded.name || "?").padEnd(16), { stream: out })} ${values.join("  ")}`,
        );
      }
      if (update.type === "reorg") {
        const what = `reorg: ${update.removed.length} blocks and ${orphaned.length} events taken back`;
        line(`  ${dim(String(update.ancestor?.number ?? 0).padStart(7))}  ${styleText("yellow", what, { stream: out })}`);
      }
    },
    settled({ queue, events, state }) {
      if (state === "dead") dead += 1;
      else done.set(queue, (done.get(queue) ?? 0) + (events > 0 ? 1 : 0));
    },
    close() {
      clearInterval(summary);
      bar?.stop();
    },
  };
}

/** Text from outside without whatever would steer the terminal. */
export const printable = (text: string) =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control and direction marks are what is removed here
  stripVTControlCharacters(text).replaceAll(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "·");

/** A value on one line and of bounded length. It came from the chain. */
function shorten(value: unknown): string {
  const text = typeof value === "object" ? JSON.stringify(value, (_, v) => (typeof v === "bigint" ? v.toString() : v)) : String(value);
  const clean = printable(text);
  if (/^0x[0-9a-f]{40,}$/.test(clean)) return `${clean.slice(0, 8)}…${clean.slice(-4)}`;
  return clean.length > MAX_VALUE ? `${clean.slice(0, MAX_VALUE)}…` : clean;
}
