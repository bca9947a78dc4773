import { stripVTControlCharacters } from "node:util";

/** What a part of the suite came to. */
export type Counts = { passed: number; failed: number; skipped: number };

export const none: Counts = { passed: 0, failed: 0, skipped: 0 };

export const add = (a: Counts, b: Counts): Counts => ({
  passed: a.passed + b.passed,
  failed: a.failed + b.failed,
  skipped: a.skipped + b.skipped,
});

/** The suite's last line. */
export const summaryLine = ({ passed, failed, skipped }: Counts): string =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;

/** The counts of Hardhat's and Mocha's summaries (`12 passing`, `1 failing`, `2 pending`), added up. */
export function countMocha(output: string): Counts {
  const plain = stripVTControlCharacters(output);
  const sum = (word: string) =>
    [...plain.matchAll(new RegExp(String.raw`^\s*(\d+) ${word}\b`, "gm"))].reduce((total, [, count]) => total + Number(count), 0);
  return { passed: sum("passing"), failed: sum("failing"), skipped: sum("(?:pending|skipped)") };
}

/** The counts of a run of node's test runner, as `count-reporter.ts` wrote them. The last line is the whole run's. */
export function countNode(report: string): Counts {
  const last = report.trim().split("\n").at(-1);
  if (!last) return none;
  const { passed, failed, cancelled, skipped, todo } = JSON.parse(last) as Record<string, number>;
  return { passed: passed!, failed: failed! + cancelled!, skipped: skipped! + todo! };
}
