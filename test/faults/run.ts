/**
 * Faults against real processes, a real Postgres, a real Redis and a real chain; and what became of every event.
 *
 *     npm run test:faults                          # as in CI
 *     npm run test:faults -- --release             # ten times as often
 *     npm run test:faults -- --only reorg --seed 7 # rows whose name contains the word, with that seed
 *     npm run test:faults -- --times 3             # each that often, to try it
 *     npm run test:faults -- --json                # the same as JSON on standard output
 *
 * Exit 1 unless nothing was lost, doubled or wrong, and everything was settled within 10 s of the last fault.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { newSeed } from "../../scripts/support/random.ts";
import { broken, type FaultRow, holds, SETTLED_WITHIN } from "./row.ts";
import type { Told } from "./row-process.ts";
import { rows } from "./rows.ts";

/** Rows at a time, beside one of those whose time is virtual. */
const AT_ONCE = 2;

/** Compiled code is kept where the product keeps it. */
const COMPILED = fileURLToPath(new URL("../../node_modules/.cache/sluice", import.meta.url));

const { values } = parseArgs({
  options: {
    release: { type: "boolean" },
    only: { type: "string" },
    seed: { type: "string" },
    json: { type: "boolean" },
    times: { type: "string" },
  },
});
const seed = values.seed === undefined ? newSeed() : Number(values.seed);
const chosen = rows.filter(({ name }) => name.includes(values.only ?? ""));
if (chosen.length === 0 || !Number.isSafeInteger(seed)) {
  console.error(`test:faults: --only is part of one of these: ${rows.map(({ name }) => name).join(", ")}; --seed is a whole number`);
  process.exit(2);
}
const began = performance.now();
const seconds = () => Math.round((performance.now() - began) / 1_000);
const log = (line: string) => void process.stderr.write(`${String(seconds()).padStart(5)} s  ${line}\n`);
const profile = values.release ? "release" : "ci";

log(`seed ${seed}, profile ${profile}`);
const children = new Set<ChildProcess>();
let ending = false;
const end = () => {
  if (ending) return;
  ending = true;
  const ended = [...children].map(child => once(child, "exit"));
  for (const child of children) child.kill();
  void Promise.all(ended).finally(() => process.exit(130));
};
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, end);
const results: FaultRow[] = [];
const inTable = [...chosen.entries()];
// Most rows wait more than they work: for a lease, a lock, a server that starts. Each has servers and processes of its own.
// Those that never wait take what these leave of the processor; the simulation, which has a process for each core, to the end.
const hand = async (waiting: typeof inTable) => {
  for (let next = waiting.shift(); next && !ending; next = waiting.shift()) {
    const [at, { name, ...counts }] = next;
    const times = values.times ? Number(values.times) : counts[profile];
    const from = performance.now();
    results[at] = await attempt(name, times);
    log(`${line(results[at])}  (${Math.round((performance.now() - from) / 1_000)} s)`);
    if (!holds(results[at])) log(results[at].note ?? "");
  }
};
const real = inTable.filter(([, row]) => !row.virtual);
const virtual = inTable.filter(([, row]) => row.virtual);
await Promise.all([hand(virtual), ...Array.from({ length: AT_ONCE }, () => hand(real))]);
const ok = results.every(holds);
if (values.json) process.stdout.write(`${JSON.stringify({ ok, seed, profile, seconds: seconds(), rows: results }, null, 2)}\n`);
else print();
process.exit(ok ? 0 : 1);

/** A row in a process of its own, so that what one passes on or counts makes no other one wait. */
async function attempt(name: string, times: number): Promise<FaultRow> {
  const env = { ...process.env, NODE_COMPILE_CACHE: COMPILED };
  const child = fork(new URL("./row-process.ts", import.meta.url), [name, String(times), String(seed)], { env });
  children.add(child);
  let row: FaultRow | undefined;
  child.on("message", (told: Told) => {
    if ("row" in told) row = told.row;
    else log(told.line);
  });
  const [code, signal] = await once(child, "exit");
  children.delete(child);
  return row ?? broken(name, times, `its process ended with ${code ?? signal}`);
}

function line({ fault, times, lost, doubled, wrong, settledSeconds }: FaultRow): string {
  const cells = [times, lost, doubled, wrong, settledSeconds.toFixed(1)].map(cell => String(cell).padStart(8));
  return `${fault.padEnd(46)}${cells.join("")}`;
}

function print(): void {
  console.log(`\nseed ${seed}: npm run test:faults --${values.release ? " --release" : ""} --seed ${seed}`);
  console.log(`${"fault".padEnd(46)}${["times", "lost", "doubled", "wrong", "settled"].map(cell => cell.padStart(8)).join("")} s`);
  for (const row of results) {
    console.log(line(row));
    if (row.note) console.log(`    ${row.note}`);
  }
  const passing = results.filter(holds).length;
  console.log(`${passing} passing (${seconds()} s; settled within ${SETTLED_WITHIN} s is demanded)`);
  if (passing < results.length) console.log(`${results.length - passing} failing`);
}
