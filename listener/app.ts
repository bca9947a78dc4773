import type { Abi, EventArguments, EventNames } from "./chain/abi.ts";
import { type Arguments, compileEvents, type EventDecoder } from "./chain/events.ts";
import type { Rpc } from "./chain/rpc.ts";
import type { BlockRef, Hex } from "./chain/types.ts";
import type { Finality } from "./config.ts";
import type { Migration, Sql, Tx } from "./db.ts";
import { SluiceError } from "./errors.ts";

/** The contracts of an application: a name for each, and its ABI. */
export type Contracts = Record<string, Abi>;

/** `Token.Transfer` and so on, for every event of every contract. */
export type EventName<C extends Contracts = Contracts> = { [K in keyof C & string]: `${K}.${EventNames<C[K]>}` }[keyof C & string];

/**
 * An event of the journal. `id` names it to the outside; `position` is its place in the journal, contiguous per chain.
 * Amounts are bigint in the smallest unit, addresses lower-case hex, times in seconds.
 */
export type JournalEvent<Name extends string = string, Args = Arguments> = {
  id: string;
  chainId: number;
  position: number;
  contract: string;
  address: Hex;
  /** `Token.Transfer`. */
  event: Name;
  arguments: Args;
  block: BlockRef & { timestamp: number };
  transactionHash: Hex;
  logIndex: number;
};

/** The event of that name, or the union of those of several names, with the arguments of its ABI. */
export type EventOf<C extends Contracts, Name extends string> = Name extends `${infer K extends keyof C & string}.${infer E}`
  ? JournalEvent<Name, EventArguments<C[K], E>>
  : never;

/** Something that the chain says and we do not, or the other way round. */
export type AuditFailure = { invariant: string; what: string; expected: unknown; found: unknown };

/** What an application's own check may use: one moment of the database, the chain at the tip, and a place for what it finds. */
export type AuditContext = {
  tx: Tx;
  chainId: number;
  rpc: Rpc;
  tip: BlockRef;
  /**
   * Set where the audit looks only at what came from this block on. The projections' tables, by their names, are then as the
   * journal gives them at the tip, whatever of that is delivered yet; only these have all of the past in them.
   */
  since: number | undefined;
  /** Addresses of the application's contracts by name. */
  contracts: Record<string, Hex>;
  /** Adds to the number of things that were compared for an invariant. */
  checked(invariant: string, count: number): void;
  failed(failure: AuditFailure): void;
};

/** Holds what the application claims against the chain. */
export type Audit = (context: AuditContext) => Promise<void>;

/**
 * State that follows the head. `apply` and `revert` are inverse, each in the transaction that marks its delivery done, on
 * a batch of events in order. Deliveries run concurrently unless the route asks for order, so what `apply` does must
 * commute with itself on other events.
 *
 * `migrations` create its tables in order, forward only, each run once; `tables` names them, so that a rebuild can empty
 * them and an audit can compare them with a recomputation. Every table has a column `chain_id`. A table whose key is
 * (chain_id, position) has a row per event, and nothing changes it but that event's `apply` and `revert`.
 */
export type Projection<E extends JournalEvent = JournalEvent> = {
  name: string;
  tables: readonly string[];
  migrations: readonly string[];
  apply(tx: Tx, events: readonly E[]): Promise<void>;
  revert(tx: Tx, events: readonly E[]): Promise<void>;
};

/**
 * When an event is delivered: as soon as its block is there, once the chain calls that block safe or final, or under so many
 * later blocks.
 */
export type DeliveryFinality = "latest" | Finality;

/** What a task gets beside its event. `key` is the same at every try, so that whoever receives the effect can drop a repetition. */
export type TaskContext = { key: string; attempt: number; signal: AbortSignal; sql: Sql };

/**
 * An effect outside of this database: it gets one event per job and runs at least once. Unless told, it waits for finality,
 * for nothing can undo it. One that does not is told by `operation` that a reorg took an event which it was run for.
 */
export type Task<E extends JournalEvent = JournalEvent> = {
  name: string;
  run(event: E, context: TaskContext & { operation: "apply" | "revert" }): Promise<void>;
};

type RouteBase = {
  queue: string;
  events: readonly string[];
  /** Deliveries of one queue that one worker process runs at a time; 4 unless told. */
  concurrency?: number;
  /** Failed attempts after which a delivery becomes a dead letter; 20 unless told. */
  attempts?: number;
  /** Deliveries whose events have the same key run one after another, in the order of the chain. */
  orderBy?: (event: JournalEvent<string, never>) => string;
};

/** Between attempts, as BullMQ has it in every language: always `delay` milliseconds, or those doubled each time. */
export type Backoff = { type: "fixed" | "exponential"; delay: number };

/**
 * Which events feed which queue. A projection follows the head; a task waits for finality, unless it says that it need not.
 * Of a queue that is carried each job holds the whole event, for workers that are not ours: it follows the head, too, unless
 * told, and an event is given up after 10 attempts, 1 s, 2 s, 4 s, … apart.
 */
export type Route = RouteBase &
  (
    | { projection: Projection<never>; batch?: number; task?: never; carry?: never; finality?: never }
    | { task: Task<never>; finality?: DeliveryFinality; projection?: never; carry?: never }
    | { carry: true; finality?: DeliveryFinality; backoff?: Backoff; projection?: never; task?: never }
  );

/** A route in the form that the core works with: defaults filled in, names checked. */
export type CompiledRoute = {
  queue: string;
  events: ReadonlySet<string>;
  finality: DeliveryFinality;
  /** Its deliveries are `apply`, and `revert` for what a reorg takes; otherwise `run`, which nothing takes back. */
  undoable: boolean;
  batch: number;
  concurrency: number;
  attempts: number;
  orderBy: ((event: JournalEvent) => string) | undefined;
  projection: Projection | undefined;
  task: Task | undefined;
  /** Set where the jobs carry the event, and the workers are somebody else's. */
  carry: { backoff: Backoff } | undefined;
};

export type App = {
  contracts: ReadonlyMap<string, readonly EventDecoder[]>;
  routes: readonly CompiledRoute[];
  projections: readonly Projection[];
  migrations: readonly Migration[];
  audits: readonly Audit[];
  decoderOf(contract: string, name: string): EventDecoder | undefined;
};

const QUEUE_NAME = /^[a-z][a-z0-9-]{0,40}$/;
const MAX_BATCH = 1_000;
const MAX_CONFIRMATIONS = 10_000;
/** Queues that are there without a route. */
const RESERVED = new Set(["webhooks"]);

/**
 * An application as data: contracts, and routes from their events to queues.
 *
 * @throws SluiceError that names every route that cannot work: unknown event, doubled or malformed queue name, bad batch
 */
export function defineApp(definition: { contracts: Contracts; routes: readonly Route[]; audits?: readonly Audit[] }): App {
  const contracts = new Map(Object.entries(definition.contracts).map(([name, abi]) => [name, compileEvents(abi as never)]));
  const names = new Set([...contracts].flatMap(([contract, decoders]) => decoders.map(({ name }) => `${contract}.${name}`)));
  const problems: string[] = [];
  const queues = new Set<string>();
  for (const { queue, events, ...route } of definition.routes) {
    if (!QUEUE_NAME.test(queue)) problems.push(`queue ${JSON.stringify(queue)}: a name has lower-case letters, digits and hyphens`);
    if (queues.has(queue)) problems.push(`queue ${queue}: two routes have this name`);
    if (RESERVED.has(queue)) problems.push(`queue ${queue}: this name is taken by the core`);
    queues.add(queue);
    for (const event of events) if (!names.has(event)) problems.push(`queue ${queue}: no contract has an event ${event}`);
    const batch = "batch" in route ? (route.batch ?? 1) : 1;
    if (!Number.isInteger(batch) || batch < 1 || batch > MAX_BATCH) problems.push(`queue ${queue}: batch must be from 1 to ${MAX_BATCH}`);
    const backoff = "backoff" in route ? route.backoff : undefined;
    if (backoff && !(backoff.delay >= 0 && ["fixed", "exponential"].includes(backoff.type)))
      problems.push(`queue ${queue}: backoff must be { type: "fixed" or "exponential", delay: milliseconds }`);
    if (!isFinality(route.finality ?? "latest"))
      problems.push(`queue ${queue}: finality must be "finalized", "safe", "latest" or confirmations from 1 to ${MAX_CONFIRMATIONS}`);
  }
  if (problems.length > 0) throw new SluiceError(`the application's routes have mistakes:\n  ${problems.join("\n  ")}`);

  const routes = definition.routes.map(compileRoute);
  const projections = [...new Set(routes.flatMap(({ projection }) => projection ?? []))];
  return {
    contracts,
    routes,
    projections,
    migrations: projections.flatMap(({ name, migrations }) => migrations.map((sql, i) => ({ name: `${name}-${i + 1}`, sql }))),
    audits: definition.audits ?? [],
    decoderOf: (contract, name) => contracts.get(contract)?.find(decoder => decoder.name === name),
  };
}

const isFinality = (given: DeliveryFinality) =>
  typeof given === "number"
    ? Number.isInteger(given) && given >= 1 && given <= MAX_CONFIRMATIONS
    : ["finalized", "safe", "latest"].includes(given);

function compileRoute(route: Route): CompiledRoute {
  const finality = route.finality ?? (route.task ? "finalized" : "latest");
  return {
    queue: route.queue,
    events: new Set(route.events),
    finality,
    // Past finality only a resync takes something back: whoever goes by the sequence of the jobs can follow even that.
    undoable: finality !== "finalized" || route.carry === true,
    // An ordered queue releases one delivery of a key at a time, so a delivery must not hold two keys.
    batch: route.orderBy ? 1 : "batch" in route ? (route.batch ?? 1) : 1,
    concurrency: route.concurrency ?? 4,
    attempts: route.attempts ?? (route.carry ? 10 : 20),
    orderBy: route.orderBy as CompiledRoute["orderBy"],
    projection: route.projection as Projection | undefined,
    task: route.task as Task | undefined,
    carry: route.carry ? { backoff: route.backoff ?? { type: "exponential", delay: 1_000 } } : undefined,
  };
}
