/**
 * Shows that the tests notice: applies each mutant to a copy of the sources and runs the test that must fail there.
 *
 *     npm run mutants
 *     npm run mutants -- epoch       (those whose name contains a word)
 *
 * Exit 1 unless each is caught. A test that fails without any mutant would seem to catch everything, so each is also run
 * on the sources as they are.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { openTestDatabase } from "../support/database.ts";
import { run } from "../support/processes.ts";
import { findRedisServer, startRedisServer } from "../support/redis-server.ts";
import { type Mutant, mutants } from "./mutants.ts";

const root = resolve(import.meta.dirname, "../..");
const COPIED = ["listener", "test", "scripts", "package.json", "tsconfig.json"];
const LINKED = ["node_modules", "artifacts"];

/** Long enough for a sound test, and a mutant that hangs is caught too (ms). */
const TIMEOUT = 40_000;

type Verdict = "caught" | "survived" | "does not apply" | "fails without it";

const words = process.argv.slice(2);
const chosen = mutants.filter(({ name }) => words.every(word => name.includes(word)));
const began = performance.now();
const database = await openTestDatabase([]);
const redis = findRedisServer() ? await startRedisServer() : undefined;
const environment = {
  ...process.env,
  SLUICE_TEST_DATABASE_URL: process.env.SLUICE_TEST_DATABASE_URL ?? database.url,
  ...(redis ? { SLUICE_TEST_REDIS_URL: redis.url } : {}),
};
const verdicts: Verdict[] = [];
const soundly = new Map<string, Promise<Set<string>>>();
try {
  const waiting = [...chosen];
  const hand = async () => {
    for (let mutant = waiting.shift(); mutant; mutant = waiting.shift()) {
      const verdict = await judge(mutant);
      verdicts.push(verdict);
      console.log(`${verdict.padEnd(17)}${mutant.name} (${mutant.caughtBy.file.slice("test/listener/".length)}: ${mutant.caughtBy.test})`);
    }
  };
  await Promise.all(Array.from({ length: Math.min(availableParallelism() + 1, 4) }, hand));
} finally {
  await redis?.remove();
  await database.close();
}
const caught = verdicts.filter(verdict => verdict === "caught").length;
console.log(`${caught} of ${chosen.length} mutants caught in ${Math.round((performance.now() - began) / 1_000)} s`);
process.exit(caught === chosen.length && caught > 0 ? 0 : 1);

/** The tests of this file that pass on the sources as they are, of those that are to catch something. */
function sound(file: string): Promise<Set<string>> {
  const tests = new Set(chosen.filter(({ caughtBy }) => caughtBy.file === file).map(({ caughtBy }) => caughtBy.test));
  const found =
    soundly.get(file) ?? outcomes(root, file, [...tests]).then(results => new Set([...tests].filter(test => results(test) === "passed")));
  soundly.set(file, found);
  return found;
}

async function judge({ file, replace, by, caughtBy }: Mutant): Promise<Verdict> {
  if (!(await sound(caughtBy.file)).has(caughtBy.test)) return "fails without it";
  const original = readFileSync(join(root, file), "utf8");
  if (original.split(replace).length !== 2) return "does not apply";
  const copy = mkdtempSync(join(tmpdir(), "sluice-mutant-"));
  try {
    for (const name of COPIED) cpSync(join(root, name), join(copy, name), { recursive: true });
    for (const name of LINKED) symlinkSync(join(root, name), join(copy, name));
    writeFileSync(
      join(copy, file),
      original.replace(replace, () => by),
    );
    const results = await outcomes(copy, caughtBy.file, [caughtBy.test]);
    return results(caughtBy.test) === "failed" ? "caught" : "survived";
  } finally {
    rmSync(copy, { recursive: true });
  }
}

/** What became of each of these tests in this copy; undefined of one that did not run, as in a copy that cannot be loaded. */
async function outcomes(copy: string, file: string, tests: readonly string[]): Promise<(test: string) => "passed" | "failed" | undefined> {
  const pattern = tests.map(test => test.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)).join("|");
  const options = ["--test-reporter=tap", `--test-timeout=${TIMEOUT}`, `--test-name-pattern=${pattern}`];
  const { exited, stdout } = run(process.execPath, ["--test", ...options, join(copy, file)], environment, copy);
  await exited;
  const lines = stdout()
    .split("\n")
    .map(line => /^\s*(not ok|ok) \d+ - (.*?)(?: # .*)?$/.exec(line));
  return test => {
    const results = lines.filter(line => line?.[2] === test && !/# SKIP/.test(line.input)).map(line => line![1]);
    return results.length === 0 ? undefined : results.includes("not ok") ? "failed" : "passed";
  };
}
