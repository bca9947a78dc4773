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
import { join, resolve } from "node:path";
import { type Mutant, mutants } from "./mutants.ts";

const root = resolve(import.meta.dirname, "../../..");

/** Without the optimizer, which a mutant does not need and which takes most of the time; fuzz runs are few but the same each time. */
const config = `
import { defineConfig } from "hardhat/config";
export default defineConfig({
  solidity: {
    version: "0.8.34",
    path: ${JSON.stringify(createRequire(import.meta.url).resolve("solc/soljson.js"))},
    settings: { evmVersion: "cancun", optimizer: { enabled: false } },
  },
  test: { solidity: { fuzz: { runs: 256 }, invariant: { runs: 16, depth: 64, failOnRevert: true } } },
});
`;

type Verdict = "caught" | "survived" | "does not apply" | "does not compile";

async function main(words: string[]): Promise<void> {
  const chosen = mutants.filter(({ name }) => words.every(word => name.includes(word)));
  const started = performance.now();
  await expectSoundTests(chosen);
  const queue = [...chosen];
  const missed: string[] = [];
  const hands = Array.from({ length: Math.min(availableParallelism(), 4) }, async () => {
    const copy = await copyOfTheProject();
    try {
      for (let mutant = queue.shift(); mutant; mutant = queue.shift()) {
        const verdict = await judge(copy, mutant);
        console.log(`${verdict.padEnd(10)} ${mutant.name} (${mutant.caughtBy.test})`);
        if (verdict !== "caught") missed.push(mutant.name);
      }
    } finally {
      await rm(copy, { recursive: true });
    }
  });
  await Promise.all(hands);

  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`${chosen.length - missed.length} of ${chosen.length} mutants caught in ${seconds} s`);
  if (missed.length > 0 || chosen.length === 0) process.exitCode = 1;
}

/** A test that fails without a fault would seem to catch every one. */
async function expectSoundTests(chosen: Mutant[]): Promise<void> {
  const copy = await copyOfTheProject();
  try {
    const files = new Set(chosen.map(({ caughtBy }) => caughtBy.file));
    const output = await hardhat(copy, ["test", "solidity", ...files]);
    if (!/\d+ passing/.test(output) || /\d+ failing/.test(output)) throw new Error(`the tests fail without any mutant:\n${output}`);
    console.log("without a mutant all tests pass");
  } finally {
    await rm(copy, { recursive: true });
  }
}

async function copyOfTheProject(): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), "sluice-mutants-"));
  await cp(join(root, "contracts"), join(copy, "contracts"), { recursive: true });
  await symlink(join(root, "node_modules"), join(copy, "node_modules"));
  await writeFile(join(copy, "hardhat.config.ts"), config);
  await writeFile(join(copy, "package.json"), '{ "type": "module" }');
  return copy;
}

async function judge(copy: string, { file, replace, by, caughtBy }: Mutant): Promise<Verdict> {
  const path = join(copy, file);
  const original = await readFile(path, "utf8");
  if (original.split(replace).length !== 2) return "does not apply";
  await writeFile(
    path,
    original.replace(replace, () => by),
  );
  try {
    const output = await hardhat(copy, ["test", "solidity", caughtBy.file, "--grep", `^${caughtBy.test}`]);
    if (!output.includes("Running Solidity tests")) return "does not compile";
    return new RegExp(`^\\s*\\d+\\) .*${caughtBy.test}\\(`, "m").test(output) ? "caught" : "survived";
  } finally {
    await writeFile(path, original);
  }
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
