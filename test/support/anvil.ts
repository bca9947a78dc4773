import { existsSync } from "node:fs";
import { eventually } from "./eventually.ts";
import { freePort } from "./ports.ts";
import { run } from "./processes.ts";

const program = "node_modules/.bin/anvil";

/** Why tests on anvil are skipped, or false: its package exists for a few platforms only. */
export const noAnvil = existsSync(program) ? false : "anvil is not installed (@foundry-rs/anvil)";

export type LocalNode = { url: string; rpc: RpcCall; signal(signal: NodeJS.Signals): void; close(): Promise<void> };
export type RpcCall = <T = unknown>(method: string, params?: unknown[]) => Promise<T>;

/** A function that calls a node, and throws what it answers as an error. */
export function rpcOf(url: string): RpcCall {
  return async <T>(method: string, params: unknown[] = []) => {
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
    const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
    const { result, error } = (await answer.json()) as { result: T; error?: { message: string } };
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  };
}

/** A node started by this command, once it answers. */
async function startNode(command: string, args: string[], port: number): Promise<LocalNode> {
  const node = run(command, args, process.env);
  const url = `http://127.0.0.1:${port}`;
  const rpc = rpcOf(url);
  await eventually(() => rpc("eth_chainId"), {
    timeout: 30_000,
    what: () => `${command} answers; it said: ${node.stdout()}${node.stderr()}`,
  });
  return { url, rpc, signal: signal => void node.child.kill(signal), close: async () => void (await node.end("SIGKILL")) };
}

/** States of past blocks that an anvil holds: more than any reorg of ours is deep. It would write all others to the home directory, for ever. */
const STATES = 256;

/** An anvil on a free port of loopback. */
export async function startAnvil(args: string[] = [], port?: number): Promise<LocalNode> {
  port ??= await freePort();
  return startNode(program, ["--port", String(port), "--silent", "--prune-history", String(STATES), ...args], port);
}

/** A Hardhat node in a process of its own. */
export async function startHardhat(port?: number): Promise<LocalNode> {
  port ??= await freePort();
  return startNode(
    process.execPath,
    ["node_modules/hardhat/dist/src/cli.js", "node", "--hostname", "127.0.0.1", "--port", String(port)],
    port,
  );
}
