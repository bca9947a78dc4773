import { readdirSync, readFileSync } from "node:fs";

/** Seconds of CPU, and the largest memory that any one process and all together had at a time, in MB. */
export type Usage = { cpu: number; peak: number; peakOfOne: number };

const TICKS = 100;
const PAGE = 4096;

type Stat = { pid: number; parent: number; cpu: number; memory: number };

function readStat(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    // Fields 4, 14, 15 and 24 of proc(5): the parent, the time used in user and in system mode, resident pages.
    const cpu = [11, 12].reduce((sum, field) => sum + Number(fields[field]), 0) / TICKS;
    return { pid, parent: Number(fields[1]), cpu, memory: (Number(fields[21]) * PAGE) / 1e6 };
  } catch {
    return undefined;
  }
}

/** The processes below these, themselves included. */
function treeOf(roots: readonly number[]): Stat[] {
  const all = readdirSync("/proc").flatMap(name => (/^\d+$/.test(name) ? (readStat(Number(name)) ?? []) : []));
  const wanted = new Set(roots);
  for (let size = 0; size !== wanted.size; ) {
    size = wanted.size;
    for (const { pid, parent } of all) if (wanted.has(parent)) wanted.add(pid);
  }
  return all.filter(({ pid }) => wanted.has(pid));
}

const tally = (stats: readonly Stat[], of: (stat: Stat) => number) => stats.reduce((total, stat) => total + of(stat), 0);

/** Seconds of CPU that these processes and those below them, as far as they live, have used so far. */
export const cpuOf = (roots: readonly number[]): number => tally(treeOf(roots), ({ cpu }) => cpu);

/** MB of memory that one process has. */
export const memoryOf = (pid: number): number => Math.round(readStat(pid)?.memory ?? 0);

/**
 * Meters trees of processes until `stop`, looking several times a second. A process's shared pages count for each that
 * holds them, so a Postgres looks larger than it is.
 *
 * @param groups for each name the process ids at the top of its trees
 */
export function startMeter(groups: Record<string, readonly number[]>): { stop(): Record<string, Usage> } {
  const meters = Object.entries(groups).map(([name, roots]) => ({ name, roots, cpu: new Map<number, number>(), peak: 0, peakOfOne: 0 }));
  const look = () => {
    for (const meter of meters) {
      const stats = treeOf(meter.roots);
      for (const { pid, cpu } of stats) meter.cpu.set(pid, cpu);
      meter.peak = Math.max(
        meter.peak,
        tally(stats, ({ memory }) => memory),
      );
      meter.peakOfOne = Math.max(meter.peakOfOne, ...stats.map(({ memory }) => memory));
    }
  };
  look();
  const before = new Map(meters.map(({ name, cpu }) => [name, sum(cpu)]));
  const timer = setInterval(look, 250);
  return {
    stop() {
      clearInterval(timer);
      look();
      return Object.fromEntries(
        meters.map(({ name, cpu, peak, peakOfOne }) => [name, { cpu: sum(cpu) - before.get(name)!, peak, peakOfOne }]),
      );
    },
  };
}

const sum = (cpu: Map<number, number>) => [...cpu.values()].reduce((total, each) => total + each, 0);
