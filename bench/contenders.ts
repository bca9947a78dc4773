import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Setting } from "./setting.ts";

export const peers = fileURLToPath(new URL("peers", import.meta.url));

type Process = { args: string[]; cwd?: string; environment?: NodeJS.ProcessEnv };

/** How far a contender is, and what its balances add up to when it is done. */
export type Contender = {
  name: string;
  /** What of the work it does, for the table. */
  does: string;
  /** The programs that it consists of, each run by this Node. */
  processes(setting: Setting): Process[];
  /** Events done so far. A contender without it prints `done N` itself. */
  progress?: string;
  /** SQL that gives the sum of the balances; where there is none, nothing but the number of events is checked. */
  supply?: string;
  /** Whether it needs the packages of bench/peers. */
  peer?: true;
};

/** What `npm run listen` and `npm run work` give Node, so that its heap stays small: decision 36. */
const { scripts } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { scripts: Record<string, string> };
const flagsOf = (role: string) => scripts[role]!.split(" ").filter(word => word.startsWith("--"));

const ours =
  (app: string, redis: boolean, roles = ["listen", "work"]) =>
  (setting: Setting): Process[] =>
    roles.map(role => ({
      args: [...flagsOf(role), "bench/ours/run.ts", role, app],
      environment: redis ? { REDIS_URL: setting.redisUrl } : {},
    }));

const isWorker = ({ args }: Process) => args.includes("work");

/** The contender with each of these numbers of worker processes; nothing of one that has none, or that counts by itself. */
export function withWorkers(contender: Contender, counts: readonly number[]): Contender[] {
  const { name, processes, progress } = contender;
  if (!progress || !name.startsWith("Sluice")) return [];
  return counts.map(count => ({
    ...contender,
    name: `${name}, ${count} worker${count === 1 ? "" : "s"}`,
    processes: setting => processes(setting).flatMap(process => (isWorker(process) ? Array<Process>(count).fill(process) : process)),
  }));
}

const OUR_BALANCES = "select sum(balance) from sluice.balances";

export const contenders: Record<string, Contender> = {
  "get-logs": {
    name: "ceiling: eth_getLogs + JSON.parse",
    does: "reads",
    processes: () => [{ args: ["bench/ceilings/get-logs.ts"] }],
  },
  "add-bulk": {
    name: "ceiling: eth_getLogs → addBulk → no-op worker",
    does: "reads, one job per event",
    processes: () => [{ args: ["bench/ceilings/add-bulk.ts", "produce"] }, { args: ["bench/ceilings/add-bulk.ts", "work"] }],
  },
  journal: {
    name: "Sluice, journal alone",
    does: "journal",
    processes: ours("journal", true, ["listen"]),
    progress: "select events from sluice.checkpoint",
  },
  sluice: {
    name: "Sluice, batches, BullMQ on Redis",
    does: "journal, balances, histories",
    processes: ours("batched", true),
    progress: "select count(*) from sluice.transfers",
    supply: OUR_BALANCES,
  },
  "sluice-postgres": {
    name: "Sluice, batches, BullMQ on Postgres",
    does: "journal, balances, histories",
    processes: ours("batched", false),
    progress: "select count(*) from sluice.transfers",
    supply: OUR_BALANCES,
  },
  "sluice-single": {
    name: "Sluice, one event per job, Redis",
    does: "journal, balances, histories",
    processes: ours("single", true),
    progress: "select count(*) from sluice.transfers",
    supply: OUR_BALANCES,
  },
  "sluice-nothing": {
    name: "Sluice, one event per job → no-op",
    does: "journal, one job per event",
    processes: ours("nothing", true),
    progress: "select created - (select count(*) from sluice.deliveries where state <> 'done') from sluice.queues",
  },
  ethers: {
    name: "ethers queryFilter + queue.add",
    does: "balances, histories",
    processes: () => [{ args: ["bench/peers/ethers/listen.js"] }, { args: ["bench/peers/ethers/work.js"] }],
    progress: "select count(*) from transfers",
    supply: "select sum(balance) from balances",
  },
  ponder: {
    name: "Ponder → Postgres",
    does: "balances, histories",
    processes: ({ environment }) => [
      {
        args: [`${peers}/node_modules/ponder/dist/esm/bin/ponder.js`, "start", "--schema", "ponder", "--log-level", "warn", "--port", "0"],
        cwd: `${peers}/ponder`,
        environment: { DATABASE_URL: environment.DATABASE_URL },
      },
    ],
    progress: "select count(*) from ponder.transfer",
    supply: "select sum(balance) from ponder.account",
    peer: true,
  },
  sqd: {
    name: "SQD evm-processor → Postgres",
    does: "balances, histories",
    processes: ({ databaseUrl }) => [{ args: [`${peers}/sqd/main.js`], cwd: `${peers}/sqd`, environment: { DB_URL: databaseUrl } }],
    progress: "select count(*) from transfer",
    supply: "select sum(balance) from account",
    peer: true,
  },
};
