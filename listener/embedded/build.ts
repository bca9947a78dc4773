import { globSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bindingInstalled, bindingLoads, installBinding } from "../../setup/postinstall.mjs";
import { SluiceError } from "../errors.ts";
import { withProcessLock } from "./process-lock.ts";

/**
 * Builds the contracts into `artifacts/` as `hardhat build` does, in this process, without output and without network.
 * Takes a few milliseconds where nothing changed. Throws SluiceError when they do not compile.
 */
export async function buildContracts(options: { log?: (line: string) => void } = {}): Promise<void> {
  ensureBinding(options);
  const { default: hre } = await import("hardhat");
  try {
    await hre.tasks.getTask("build").run({ quiet: true, noTests: true });
  } catch (cause) {
    throw new SluiceError(`the contracts could not be built: ${(cause as Error).message}`, {
      hint: "`npm run build` shows the compiler's messages",
      cause,
    });
  }
}

/**
 * Sees to it that Hardhat's native binding is there. `npm install something` run by Node 20 takes it away without a word,
 * and Hardhat would then fail on import; call this before. Throws SluiceError when it cannot be mended.
 */
export function ensureBinding({ log = () => {} }: { log?: (line: string) => void } = {}): void {
  if (bindingInstalled()) return;
  log("Hardhat's native binding is missing (npm run by an older Node removes it): installing it again");
  if (installBinding() && bindingLoads()) return;
  throw new SluiceError(`Hardhat's native binding is missing for ${process.platform}-${process.arch} on Node ${process.version}`, {
    hint: "run `npm ci` again with network access; if that does not help, run it with Node 24",
  });
}

const PAGE = fileURLToPath(new URL("../dashboard/", import.meta.url));
const LOCK = "dist.lock";

/**
 * Builds the dashboard where it is missing or older than its source, in under a second: a checkout of another version
 * shows its own page. Of several processes at once one builds it. Throws SluiceError when it cannot be built.
 */
export async function buildPage(): Promise<void> {
  if (isPageBuilt()) return;
  await withProcessLock(join(PAGE, LOCK), async () => {
    if (isPageBuilt()) return;
    try {
      const { build } = await import("vite");
      await build({ configFile: join(PAGE, "vite.config.ts"), logLevel: "error" });
    } catch (cause) {
      throw new SluiceError(`the dashboard could not be built: ${(cause as Error).message}`, {
        hint: "`npm run build` shows the messages",
        cause,
      });
    }
  });
}

function isPageBuilt(): boolean {
  const changedAt = (file: string) => statSync(join(PAGE, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const sources = globSync("**/*", { cwd: PAGE, exclude: ["dist", LOCK] });
  return Math.max(...sources.map(changedAt)) < changedAt(join("dist", "index.html"));
}
