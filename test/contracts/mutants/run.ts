/**
 * Shows that the tests notice: applies each mutant to a copy of the contracts and runs the test that must fail there.
 *
 *     npm run mutants:contracts
 *     npm run mutants:contracts -- beneficiary       (those whose name contains a word)
 */
import { spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { type Mutant, mutants } from "./mutants.ts";

const root = resolve(import.meta.dirname, "../../..");

/** Without the optimizer, which a mutant does not need. An invariant is tried differently each time: often enough that chance hides no fault. */
const config = `
import { defineConfig } from "hardhat/config";
export default defineConfig({
  solidity: {
    version: "0.8.34",
    path: ${JSON.stringify(createRequire(import.meta.url).resolve("solc/soljson.js"))},
    settings: { evmVersion: "cancun", optimizer: { enabled: false } },
  },
  test: { solidity: { fuzz: { runs: 256 }, invariant: { runs: 64, depth: 128, failOnRevert: true } } },
});
`;

type Verdict = "caught" | "survived" | "does not apply";

async function main(words: string[]): Promise<void> {
  const started = performance.now();
  const chosen = mutants.filter(({ name }) => words.every(word => name.includes(word)));
  const hands = Math.min(availableParallelism(), 4, chosen.length);
  const shares = Array.from({ length: hands }, (_, hand) => chosen.filter((_, index) => index % hands === hand));
  const verdicts = (await Promise.all(shares.map(judge))).flat();
  const missed = verdicts.filter(verdict => verdict !== "caught").length;
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`${chosen.length - missed} of ${chosen.length} mutants caught in ${seconds} s`);
  if (missed > 0 || chosen.length === 0) process.exitCode = 1;
}

/**
 * All mutants of a share are compiled and tested at once, each in a copy of the contracts of its own, because starting the
 * compiler is dearer than using it. One more copy has no fault: a test that fails there would seem to catch everything.
 */
async function judge(share: Mutant[]): Promise<Verdict[]> {
  const project = await mkdtemp(join(tmpdir(), "sluice-mutants-"));
  try {
    await symlink(join(root, "node_modules"), join(project, "node_modules"));
    await writeFile(join(project, "hardhat.config.ts"), config);
    await writeFile(join(project, "package.json"), '{ "type": "module" }');
    const tests = new Set(share.map(({ caughtBy }) => caughtBy.file));
    await copyContracts(join(project, "contracts", "sound"), [...tests]);
    const applied = await Promise.all(share.map((mutant, index) => apply(mutant, join(project, "contracts", `mutant${index}`))));

    const names = new Set(share.map(({ caughtBy }) => caughtBy.test));
    const output = await hardhat(project, ["test", "solidity", "--grep", `^(${[...names].join("|")})\\(`]);
    const failed = failures(output);
    if (failed.some(failure => failure.startsWith("sound/"))) throw new Error(`a test fails without any mutant:\n${output}`);
    return share.map(({ name, caughtBy }, index) => {
      const failure = `mutant${index}/${caughtBy.file.slice("contracts/".length)} ${caughtBy.test}`;
      const verdict = !applied[index] ? "does not apply" : failed.includes(failure) ? "caught" : "survived";
      console.log(`${verdict.padEnd(10)} ${name} (${caughtBy.test})`);
      return verdict;
    });
  } finally {
    await rm(project, { recursive: true });
  }
}

/** The contracts and what tests need, with these test files alone. */
async function copyContracts(to: string, tests: string[]): Promise<void> {
  const kept = new Set(tests.map(file => join(root, file)));
  const filter = (from: string) => !from.endsWith(".t.sol") || kept.has(from) || dirname(from).endsWith("testing");
  await cp(join(root, "contracts"), to, { recursive: true, filter });
}

/** False if what the mutant replaces is not there exactly once, which happens when the contract has changed. */
async function apply({ file, replace, by, caughtBy }: Mutant, copy: string): Promise<boolean> {
  await copyContracts(copy, [caughtBy.file]);
  const path = join(copy, file.slice("contracts/".length));
  const original = await readFile(path, "utf8");
  if (original.split(replace).length !== 2) return false;
  await writeFile(
    path,
    original.replace(replace, () => by),
  );
  return true;
}

/** Which tests failed, each as "copy/file test"; the lines after a file's name are its tests. */
function failures(output: string): string[] {
  const [, results] = output.split("Running Solidity tests");
  if (results === undefined) throw new Error(`a mutant does not compile:\n${output}`);
  let file = "";
  const failed: string[] = [];
  for (const line of results.split(/^ {2}\d+ passing/m, 1)[0]!.split("\n")) {
    file = /^ {2}contracts\/(\S+\.t\.sol):/.exec(line)?.[1] ?? file;
    const test = /^ +\d+\) (\w+)\(/.exec(line)?.[1];
    if (test) failed.push(`${file} ${test}`);
  }
  return failed;
}

function hardhat(cwd: string, options: string[]): Promise<string> {
  const script = join(root, "node_modules", "hardhat", "dist", "src", "cli.js");
  const environment = { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" };
  const child = spawn(process.execPath, [script, ...options], { cwd, env: environment, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", text => (output += text));
  return new Promise((done, fail) => child.on("error", fail).on("close", () => done(output)));
}

// Hardhat's test task loads every file below test/contracts; this one does something only when it is the program.
if (import.meta.main) await main(process.argv.slice(2));
