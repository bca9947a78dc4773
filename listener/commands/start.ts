import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Crowd } from "../../scripts/support/traffic.ts";
import { isLoopback } from "../api/hosts.ts";
import type { ApiOptions } from "../api/server.ts";
import { type Deployment, readDeployment } from "../chain/deployment.ts";
import { openRpc } from "../chain/rpc.ts";
import type { Config } from "../config.ts";
import { deployDemo, openDemo } from "../dapp/demo.ts";
import { demoOperations } from "../dapp/demo-operations.ts";
import { app } from "../dapp/routes.ts";
import { sleep } from "../db.ts";
import { buildPage } from "../embedded/build.ts";
import { type LocalChain, startChain } from "../embedded/chain.ts";
import { describe, SluiceError, WrongChainError } from "../errors.ts";
import { type Halted, RESYNC } from "../journal/halt.ts";
import { redactUrl } from "../redact.ts";
import { startWebhooks } from "../webhooks/deliver.ts";
import { startWorkers } from "../worker/worker.ts";
import { runAudit } from "./audit.ts";
import { drain } from "./drain.ts";
import { listenToKeys } from "./keys.ts";
import { runListener } from "./listener.ts";
import { openProcess, type Process } from "./process.ts";
import { reportRun } from "./report.ts";
import { startApi } from "./serve.ts";
import { openTerminal, silentTerminal, type Terminal } from "./terminal.ts";

const CHAIN_PORT = 8545;
const TRAFFIC_RATE = 8;
const DRAIN_TIMEOUT = 60_000;
/** Everything is on this machine: looking at the head costs nothing. */
const LOCAL_POLL = 200;

/** Everything in one process, for a first look and for development. */
export async function start(options: { traffic: boolean; for?: number; json?: boolean }): Promise<void> {
  if (options.json && !options.for) {
    throw new SluiceError("--json reports a run that ends", { hint: "say for how long: `npm start -- --for 20s --json`" });
  }
  const began = new Date();
  await using running = openProcess("start", { logFile: "sluice.log" });
  const { signal, log } = running;
  const terminal = options.json ? silentTerminal : openTerminal(process.stdout);
  running.defer(() => terminal.close());
  terminal.line("Sluice: contract events in, BullMQ jobs out\n");

  const [{ db, url, embedded }, chain] = await Promise.all([running.openDatabase({ max: 20 }), openChain(running), buildPage()]);
  terminal.started("database", embedded ? `embedded Postgres in ${running.config.dataDir}` : redactUrl(url));
  const config: Config = chain ? { ...running.config, rpcUrls: [chain.url, chain.wsUrl], pollInterval: LOCAL_POLL } : running.config;
  terminal.started("chain", chain ? describeChain(chain) : config.rpcUrls.map(redactUrl).join(", "));

  const deployment = await deployed(config, log, signal);
  for (const [name, { address, block }] of Object.entries(deployment.contracts))
    terminal.started("contract", `${name} at ${address}, block ${block}`);
  const { chainId } = deployment;
  const backend = await running.openQueues(url);
  terminal.started("queues", `BullMQ on ${backend.kind === "redis" ? `Redis, ${redactUrl(config.redisUrl!)}` : "the same Postgres"}`);

  const workers = startWorkers({ app, db, backend, chainId, log, onSettled: terminal.settled });
  running.defer(() => workers.close());
  const webhooks = startWebhooks({ app, db, backend, chainId, guard: { allowLoopback: config.webhooksAllowLoopback }, log });
  running.defer(() => webhooks.close());
  const crowd = options.traffic || chain ? await openDemo(httpOf(config), deployment.contracts) : undefined;
  running.defer(() => crowd?.close());
  const apiOptions: Omit<ApiOptions, "config" | "reads"> = {
    db,
    app,
    chainId,
    log,
    backend: Promise.resolve(backend),
    operations: crowd ? demoOperations({ crowd, ...(chain ? { reorg: depth => chain.reorg({ depth }) } : {}) }) : [],
    // Its page is this person's own: it need not ask for a key. Anybody else, and any program, does need one.
    ...(isLoopback(config.host) ? { localKey: randomBytes(32).toString("base64url") } : {}),
  };
  const api = await elseAnyPort(config.port, port => startApi({ ...apiOptions, config: { ...config, port } }));
  running.defer(() => api.close());
  terminal.started("dashboard", api.url);
  terminal.started("API", `${api.url}/docs`);
  terminal.started("log", join(config.dataDir, "sluice.log"));

  const onHalted = ({ reason }: Halted) => {
    terminal.line(`  halted: ${reason}; to repair it, ${RESYNC}`);
    if (options.for) running.stop();
  };
  const listener = runListener({ app, config, db, backend, deployment, log, signal, onRecorded: terminal.recorded, onHalted });
  running.defer(async () => {
    running.stop();
    await listener.catch(() => {});
  });
  // Whatever the listener cannot mend ends the run; it is thrown below, where the listener is awaited.
  listener.catch(() => running.stop());

  const traffic = options.traffic && crowd ? startTraffic(crowd, chain, running, terminal) : undefined;
  running.defer(() => traffic?.stop());
  terminal.line("");

  if (options.for) await sleep(options.for, signal);
  else if (!signal.aborted) await once(signal, "abort");
  terminal.line("\nstopping");
  await traffic?.stop();
  if (signal.aborted) {
    // A run that was cut short proved nothing.
    if (options.for) process.exitCode = 1;
    return await listener;
  }

  const rpc = openRpc(config.rpcUrls, { log, signal });
  const drained = await drain(db, rpc, chainId, DRAIN_TIMEOUT).finally(() => rpc.close());
  const report = await reportRun(db, chainId, began, await runAudit({ app, config, db, backend, deployment, log, signal }));
  if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  else terminal.line(JSON.stringify(report, null, 2));
  const dead = Object.values(report.queues).reduce((total, { failed }) => total + failed, 0);
  if (!drained) process.stderr.write(`sluice: not everything was done ${DRAIN_TIMEOUT / 1_000} s after the traffic ended\n`);
  if (!report.audit.ok || !drained || dead > 0) process.exitCode = 1;
}

/** The embedded chain, where no node is given. */
async function openChain({ config, log, defer }: Process): Promise<LocalChain | undefined> {
  if (config.rpcUrls.length > 0) return undefined;
  const chain = await elseAnyPort(CHAIN_PORT, port => startChain({ dataDir: config.dataDir, port, log: line => log.info(line) }));
  defer(() => chain.close());
  return chain;
}

/** A second `start` beside a first one takes other ports rather than none. */
async function elseAnyPort<T>(port: number, open: (port: number) => Promise<T>): Promise<T> {
  try {
    return await open(port);
  } catch (error) {
    const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
    if (code !== "EADDRINUSE") throw error;
    return await open(0);
  }
}

const describeChain = ({ url, resumed }: LocalChain) =>
  `embedded Hardhat chain at ${url}${resumed.blocks > 0 ? `, resumed at block ${resumed.blocks}` : ""}`;

const httpOf = ({ rpcUrls }: Config) => rpcUrls.find(url => url.startsWith("http")) ?? rpcUrls[0]!;

/** The deployment that is there, or a new one: on a fresh chain, or on one that no longer holds the old one's code. */
async function deployed(config: Config, log: Process["log"], signal: AbortSignal): Promise<Deployment> {
  const rpc = openRpc(config.rpcUrls, { log, signal });
  try {
    const found = await findDeployment(config.deployment, address => rpc.call<string>("eth_getCode", [address, "latest"]));
    if (found) return found;
  } finally {
    rpc.close();
  }
  await deployDemo(httpOf(config), config.deployment);
  return readDeployment(config.deployment);
}

async function findDeployment(file: string, codeAt: (address: string) => Promise<string>): Promise<Deployment | undefined> {
  if (!existsSync(file)) return undefined;
  const deployment = readDeployment(file);
  for (const [name, { address }] of Object.entries(deployment.contracts)) {
    if ((await codeAt(address)) === "0x") {
      throw new WrongChainError(`${name} of ${file} is not on this chain: there is no code at ${address}`, {
        hint: "run `npm run reset` to start anew, or point RPC_URL to the chain of this deployment",
      });
    }
  }
  return deployment;
}

/** Demo traffic, and the keys that a person at the terminal has. */
function startTraffic(crowd: Crowd, chain: LocalChain | undefined, running: Process, terminal: Terminal): { stop(): Promise<void> } {
  const stopping = new AbortController();
  const traffic = crowd.traffic({ rate: TRAFFIC_RATE, signal: AbortSignal.any([running.signal, stopping.signal]) });
  traffic.catch(error => terminal.line(`  traffic ended: ${describe(error)}`));
  terminal.started("traffic", `${TRAFFIC_RATE} transactions a second, seed ${crowd.seed}`);
  const keys = listenToKeys(process.stdin, {
    p: async () => {
      const paused = await crowd.paused();
      await (paused ? crowd.unpause() : crowd.pause());
      return paused ? "running again" : "paused: nothing moves until you press p again";
    },
    b: async () => `burst: ${(await crowd.burst(200)).sent} transfers sent`,
    r: async () => {
      if (!chain) return "a reorg can be made on the embedded chain only";
      await chain.reorg({ depth: 3 });
      return "reorg: the last 3 blocks were replaced";
    },
    q: async () => {
      running.stop();
      return "bye";
    },
  });
  keys.onSaid(text => terminal.line(`  ${text}`));
  if (keys.listening) terminal.line("\n  p pause · b burst · r reorg · q quit");
  let stopped: Promise<void> | undefined;
  const stop = async () => {
    keys.close();
    stopping.abort();
    await traffic.catch(() => {});
  };
  return { stop: () => (stopped ??= stop()) };
}
