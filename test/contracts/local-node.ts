import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { JsonRpcProvider } from "ethers";
import { freePort } from "../support/ports.ts";

const root = resolve(import.meta.dirname, "../..");
const cli = join(root, "node_modules", "hardhat", "dist", "src", "cli.js");

/** What a command printed and how it ended. */
export interface Ended {
  code: number | null;
  output: string;
  errors: string;
}

/** A `hardhat node` on a free port with a data directory of its own, and how a person runs commands against it. */
export interface LocalNode {
  url: string;
  provider: JsonRpcProvider;
  /** The folder that holds the deployment file. */
  data: string;
  /** `npx hardhat …` */
  hardhat(...options: string[]): Promise<Ended>;
  /** `npx hardhat run scripts/….ts --network localhost …` */
  script(name: string, ...options: string[]): Promise<Ended>;
  stop(): Promise<void>;
}

export async function startNode(): Promise<LocalNode> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const data = await mkdtemp(join(tmpdir(), "sluice-scripts-"));
  const environment = { ...process.env, RPC_URL: url, DATA_DIR: data, DEPLOYMENT: "", NO_COLOR: "1", FORCE_COLOR: "0" };
  const node = run(["node", "--hostname", "127.0.0.1", "--port", String(port)], environment);
  await answers(url, node);
  const provider = new JsonRpcProvider(url, 31337, { batchMaxCount: 1, cacheTimeout: -1, pollingInterval: 50, staticNetwork: true });

  const hardhat = (...options: string[]) => ended(run(options, environment));
  return {
    url,
    provider,
    data,
    hardhat,
    script: (name, ...options) => hardhat("run", "--no-compile", `scripts/${name}.ts`, "--network", "localhost", ...options),
    async stop() {
      if (node.exitCode !== null || node.signalCode !== null) return;
      provider.destroy();
      const closed = new Promise(done => node.once("close", done));
      node.kill();
      await closed;
      await rm(data, { recursive: true });
    },
  };
}

function run(options: string[], environment: NodeJS.ProcessEnv): ChildProcess {
  return spawn(process.execPath, [cli, ...options], { cwd: root, env: environment, stdio: ["ignore", "pipe", "pipe"] });
}

function ended(child: ChildProcess): Promise<Ended> {
  const result: Ended = { code: null, output: "", errors: "" };
  child.stdout!.setEncoding("utf8").on("data", text => (result.output += text));
  child.stderr!.setEncoding("utf8").on("data", text => (result.errors += text));
  return new Promise((done, fail) => child.on("error", fail).on("close", code => done({ ...result, code })));
}

async function answers(url: string, node: ChildProcess): Promise<void> {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_chainId", params: [] });
  for (const end = performance.now() + 60_000; performance.now() < end; ) {
    if (node.exitCode !== null) throw new Error(`hardhat node ended with ${node.exitCode}`);
    const answer = await fetch(url, { method: "POST", body, headers: { "content-type": "application/json" } }).catch(() => undefined);
    if (answer?.ok) return;
    await new Promise(next => setTimeout(next, 100));
  }
  throw new Error("hardhat node does not answer");
}
