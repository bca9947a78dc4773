import type { App } from "../app.ts";
import type { Operation } from "../journal/deliveries.ts";
import { type EventPayload, toEventPayload } from "../journal/event-payload.ts";
import type { EventRow } from "../journal/events.ts";

/**
 * The data of a job in a queue that is carried: all that a worker in any language needs of an event. The job's name is its
 * `operation`. What is added later is optional for whoever reads it; anything else makes another `v`.
 *
 * `revert` says that the chain took back the event of this `id`. `seq` rises with every job of this queue: of two jobs about
 * one event that with the higher `seq` is right, in whichever order they come. `raw` is the log as the chain has it: a string
 * in `arguments` that is not UTF-8 there has U+FFFD where it is not.
 */
export type CarriedJob = EventPayload & {
  v: 1;
  operation: "apply" | "revert";
  seq: number;
  raw: { topics: string[]; data: string };
};

/** The same text however often it is made. Throws where the event cannot be decoded. */
export function toCarriedJob(app: App, { operation, position }: { operation: Operation; position: number }, row: EventRow): CarriedJob {
  return {
    v: 1,
    operation: operation === "revert" ? "revert" : "apply",
    seq: position,
    ...toEventPayload(app, row),
    raw: { topics: row.topics, data: row.data },
  };
}
