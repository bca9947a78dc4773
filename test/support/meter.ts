import { Interface } from "ethers";
import { type App, type Backoff, defineApp, type JournalEvent, type Projection, type Route, type Task } from "../../listener/app.ts";
import type { Tx } from "../../listener/db.ts";
import { SCRIPTED_ADDRESS, type ScriptedLog } from "./scripted-chain.ts";

/** A contract for tests of the core, which knows no other application either. */
const ABI = [
  {
    type: "event",
    name: "Added",
    inputs: [
      { name: "who", type: "address", indexed: true },
      { name: "amount", type: "uint256" },
    ],
  },
  {
    type: "event",
    name: "Named",
    inputs: [
      { name: "who", type: "address", indexed: true },
      { name: "name", type: "string" },
    ],
  },
] as const;
const meter = new Interface(ABI as never);

/** The address of account `n`. */
export const account = (n: number) => `0x${n.toString(16).padStart(40, "0")}`;

export const added = (who: number, amount: bigint | number): ScriptedLog => encode("Added", [account(who), amount]);
export const named = (who: number, name: string): ScriptedLog => encode("Named", [account(who), name]);
/** A log with the topics of `Added` whose data is cut off. */
export const truncated = (who: number): ScriptedLog => ({ ...added(who, 1), data: "0x01" });

function encode(name: string, values: unknown[]): ScriptedLog {
  const { topics, data } = meter.encodeEventLog(name, values);
  return { address: SCRIPTED_ADDRESS, topics: topics.map(String), data };
}

export type Added = JournalEvent<"Meter.Added", { who: string; amount: bigint }>;

type Hook = (operation: "apply" | "revert", events: readonly Added[], tx: Tx) => unknown;

/** Sums per account, and every call in the order in which it took effect. `before` and `after` may throw, or wait. */
export function ledger(hooks: { before?: Hook; after?: Hook } = {}) {
  const run =
    (operation: "apply" | "revert", sign: bigint): Projection<Added>["apply"] =>
    async (tx, events) => {
      await hooks.before?.(operation, events, tx);
      const changes = new Map<string, bigint>();
      for (const {
        arguments: { who, amount },
      } of events)
        changes.set(who, (changes.get(who) ?? 0n) + amount * sign);
      for (const [who, change] of [...changes].sort()) {
        await tx.query(
          `insert into sums as s values ($1, $2, $3) on conflict (chain_id, who) do update set total = s.total + excluded.total`,
          [events[0]!.chainId, who, change],
        );
      }
      await tx.query("insert into calls (chain_id, operation, positions) values ($1, $2, $3)", [
        events[0]!.chainId,
        operation,
        events.map(event => event.position),
      ]);
      await hooks.after?.(operation, events, tx);
    };
  return {
    name: "ledger",
    tables: ["sums", "calls"],
    migrations: [
      `create table sums (chain_id bigint, who text, total numeric(78,0) not null, primary key (chain_id, who));
       create table calls (chain_id bigint, id bigserial primary key, operation text not null, positions bigint[] not null);`,
    ],
    apply: run("apply", 1n),
    revert: run("revert", -1n),
  } satisfies Projection<Added>;
}

type Line = Omit<Route, "queue" | "events" | "projection" | "task"> & { events?: readonly string[]; batch?: number };

/** A line of the table that feeds `ledger` with every `Added`. */
export const ledgerRoute = (projection: Projection<Added>, line: Line = {}): Route =>
  ({ queue: "ledger", events: ["Meter.Added"], projection, ...line }) as Route;

export const taskRoute = (run: Task<Added>["run"], line: Line = {}): Route =>
  ({ queue: "tasks", events: ["Meter.Added"], task: { name: "task", run }, ...line }) as Route;

/** A line whose jobs carry every `Added` to workers elsewhere. */
export const carriedRoute = (line: Line & { backoff?: Backoff } = {}): Route =>
  ({ queue: "orders", events: ["Meter.Added"], carry: true, ...line }) as Route;

export const meterApp = (...routes: Route[]): App => defineApp({ contracts: { Meter: ABI }, routes });
