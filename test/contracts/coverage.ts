/**
 * Runs the Solidity tests with Hardhat's coverage and fails unless every line and every statement of every contract runs.
 *
 *     npm run coverage:contracts
 *
 * Hardhat counts statements, not branches. The contracts are written so that statements tell of branches: both sides of
 * each `if` hold a statement or a revert, and there is no conditional expression, which this program checks as well. The
 * two `if`s whose other side is empty have a mutant each that takes them always (test/contracts/mutants/mutants.ts).
 */
import { spawnSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");

function main(): void {
  const script = join(root, "node_modules", "hardhat", "dist", "src", "cli.js");
  const { stdout, stderr, status } = spawnSync(process.execPath, [script, "test", "solidity", "--coverage"], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, SOLIDITY_TESTS: "quick", NO_COLOR: "1", FORCE_COLOR: "0" },
  });
  if (status !== 0) {
    console.error(`${stdout}\n${stderr}`);
    process.exitCode = 1;
    return;
  }
  const rows = [...stdout.matchAll(/^║ (contracts\/\S+)\s*│ (\S+)\s*│ (\S+)\s*│ (.*?)\s*║$/gm)].map(
    ([, file, lines, statements, uncovered]) => ({
      file,
      lines,
      statements,
      uncovered,
    }),
  );
  console.table(rows);

  const faults = [
    ...rows.filter(row => row.lines !== "100.00" || row.statements !== "100.00").map(row => `${row.file}: uncovered ${row.uncovered}`),
    ...withCode()
      .filter(file => !rows.some(row => row.file === file))
      .map(file => `${file}: not measured`),
    ...conditionalExpressions(),
  ];
  for (const fault of faults) console.error(fault);
  if (faults.length > 0) process.exitCode = 1;
  else console.log(`${rows.length} contracts: every line, every statement, and no branch inside an expression`);
}

/** The contracts that hold statements: all but tests, what tests need, and interfaces. */
function withCode(): string[] {
  return globSync("contracts/**/*.sol", { cwd: root }).filter(file => !file.endsWith(".t.sol") && !file.includes("/interfaces/"));
}

function conditionalExpressions(): string[] {
  return withCode().flatMap(file =>
    readFileSync(join(root, file), "utf8")
      .split("\n")
      .flatMap((line, index) => (/^[^*/]*\s\?\s/.test(line) ? [`${file}:${index + 1}: a conditional expression hides a branch`] : [])),
  );
}

// Hardhat's test task loads every file below test/contracts; this one does something only when it is the program.
if (import.meta.main) main();
