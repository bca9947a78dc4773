import { existsSync, readFileSync } from "node:fs";

/** Why tests that look into a process from outside are skipped, or false. */
export const noProcFs = existsSync("/proc/self/status") ? false : "there is no /proc on this machine";

/** Megabytes that the process holds in memory now. */
export const residentMegabytes = (pid: number): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1_024;

/** Seconds of a processor that the process has used so far. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name, in brackets, may hold spaces. Times are in hundredths of a second: USER_HZ is 100 everywhere that Node runs.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
