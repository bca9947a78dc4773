import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import chromium, { inflate } from "@sparticuz/chromium";
import { type Browser, chromium as driver } from "playwright-core";

/** The package brings Chromium for Linux on x64 alone. */
export const noBrowser = process.platform === "linux" && process.arch === "x64" ? false : "@sparticuz/chromium is for Linux x64 only";

/** What the package sets for a serverless platform and a page under test should not be without. */
const UNWANTED = /^--(disable-web-security|allow-running-insecure-content|single-process|disable-site-isolation-trials|no-zygote)/;

/**
 * A headless Chromium of the npm package. A machine that lacks Chromium's libraries (NSS and the like) gets those that
 * the package carries for serverless platforms.
 */
export async function openBrowser(): Promise<Browser> {
  const executablePath = await chromium.executablePath();
  const launch = (env: Record<string, string | undefined>) =>
    driver.launch({
      executablePath,
      args: chromium.args.filter(arg => !UNWANTED.test(arg)),
      headless: true,
      env: env as Record<string, string>,
    });
  try {
    return await launch(process.env);
  } catch (error) {
    if (!/error while loading shared libraries/.test(String(error))) throw error;
    return await launch({ ...process.env, LD_LIBRARY_PATH: await bringLibraries() });
  }
}

/** Unpacks the libraries beside the browser and says where they are. */
async function bringLibraries(): Promise<string> {
  const folder = join(tmpdir(), "al2023", "lib");
  const bin = join(dirname(createRequire(import.meta.url).resolve("@sparticuz/chromium")), "..", "bin");
  if (!existsSync(folder)) await inflate(join(bin, "al2023.tar.br"));
  return folder;
}
