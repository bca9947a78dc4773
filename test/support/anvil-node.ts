import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { freePort } from "./ports.ts";

const anvil = join(resolve(import.meta.dirname, "../.."), "node_modules", ".bin", "anvil");

/** Why tests on anvil are skipped, or false: its package has a binary for Linux on x64 alone. */
export const noAnvil = existsSync(anvil) ? false : "anvil is not installed";

/** An anvil of its own on a free port; `options` are those of its command line. */
export async function anvilNode(...options: string[]): Promise<{ url: string; close(): Promise<void> }> {
  const port = await freePort();
  const child = spawn(anvil, ["--port", String(port), ...options], { stdio: ["ignore", "pipe", "ignore"] });
  const closed = once(child, "close");
  let output = "";
  await new Promise<void>((listening, fail) => {
    child.once("error", fail);
    child.once("close", code => fail(new Error(`anvil ended with ${code}`)));
    child.stdout.setEncoding("utf8").on("data", text => {
      output = `${output}${text}`.slice(-200);
      if (output.includes("Listening on")) listening();
    });
  });
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      child.kill();
      await closed;
    },
  };
}
