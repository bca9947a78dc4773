import type { SluiceToken$Type } from "../../artifacts/contracts/SluiceToken.sol/artifacts.d.ts";
import artifact from "../../artifacts/contracts/SluiceToken.sol/SluiceToken.json" with { type: "json" };
import type { Backoff, DeliveryFinality, EventName, EventOf, Projection, Route, Task, TaskContext } from "../app.ts";

/** The contracts that this application follows. The ABI's literal types come from the build. */
export const contracts = {
  SluiceToken: artifact.abi as unknown as SluiceToken$Type["abi"],
};

/** An event of these contracts, with the arguments of its ABI. */
export type Event<Name extends EventName<typeof contracts>> = EventOf<typeof contracts, Name>;

type Base<Name> = Omit<Route, "projection" | "task" | "events" | "orderBy" | "batch" | "finality"> & { events: readonly Name[] };

/**
 * A line of the routing table: its handler must understand every event that the line sends it. One with `carry` has none here:
 * its workers are elsewhere (docs/workers-in-other-languages.md).
 */
export function route<const Name extends EventName<typeof contracts>>(
  line: Base<Name> & { orderBy?: (event: Event<Name>) => string } & (
      | { projection: Projection<Event<NoInfer<Name>>>; batch?: number }
      | { task: Task<Event<NoInfer<Name>>>; finality?: DeliveryFinality }
      | { carry: true; finality?: DeliveryFinality; backoff?: Backoff }
    ),
): Route {
  return line as unknown as Route;
}

/**
 * A line of the routing table for an effect that nothing can undo. `run` gets one event per job, once its block is final,
 * and at least once; `key` is the same at every try, and `signal` aborts where somebody else may have taken the job over.
 * `name` is the queue's.
 *
 * With another `finality` (`"safe"`, a number of confirmations, `"latest"`) it runs earlier. A reorg may then take an event
 * that it ran for: it is run again with the `operation` `revert`, after every `apply` of that event and before whatever
 * takes its place. It may come for an `apply` that failed or of which no end was seen.
 */
export function task<const Name extends EventName<typeof contracts>>({
  name,
  run,
  ...line
}: Omit<Base<Name>, "queue"> & {
  name: string;
  orderBy?: (event: Event<NoInfer<Name>>) => string;
} & (
    | { finality?: "finalized"; run(event: Event<NoInfer<Name>>, context: TaskContext): Promise<void> }
    | { finality: Exclude<DeliveryFinality, "finalized">; run: Task<Event<NoInfer<Name>>>["run"] }
  )): Route {
  return { ...line, queue: name, task: { name, run } } as unknown as Route;
}
