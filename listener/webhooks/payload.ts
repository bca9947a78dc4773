import { createHash } from "node:crypto";
import type { App } from "../app.ts";
import { type EventPayload, toEventPayload } from "../journal/event-payload.ts";
import type { EventRow } from "../journal/events.ts";

export type MessageOperation = "event" | "reverted" | "test";

/**
 * The body of a request. `sequence` grows with each message to this endpoint. `data` is one event, or where the endpoint has
 * batches always a list. `reverted` says that the chain took back the event of this id: undo what its `event` did.
 */
export type WebhookPayload = {
  version: 1;
  type: string;
  operation: MessageOperation;
  endpoint: string;
  sequence: number;
  /** ISO time of the newest event's block. */
  timestamp: string;
  data: EventPayload | EventPayload[];
};

/** The same text at every attempt: nothing in it depends on when it is sent. */
export function toBody(
  app: App,
  message: { endpoint: string; sequence: number; operation: MessageOperation; createdAt: Date; batched: boolean },
  rows: readonly EventRow[],
): string {
  const { endpoint, sequence, operation, createdAt, batched } = message;
  const events = rows.map(row => toEventPayload(app, row));
  const seconds = Math.max(0, ...rows.map(row => row.block_timestamp));
  const payload: WebhookPayload = {
    version: 1,
    type: operation === "test" ? "test" : batched ? "batch" : `${rows[0]!.contract}.${rows[0]!.name}`,
    operation,
    endpoint,
    sequence,
    timestamp: (operation === "test" ? createdAt : new Date(seconds * 1_000)).toISOString(),
    data: batched || operation === "test" ? events : events[0]!,
  };
  return JSON.stringify(payload);
}

/**
 * The `webhook-id`: the event's id and the operation, the same at every attempt, after every restart and at a replay. A block
 * that was orphaned and came back brings its events anew, so from the second time on it says which time it is.
 */
export function messageId(operation: MessageOperation, events: readonly { id: string; time: number }[]): string {
  const names = events.map(({ id, time }) => `${id}-${operation}${time > 1 ? `-${time}` : ""}`);
  return names.length === 1 ? names[0]! : `batch-${createHash("sha256").update(names.join(" ")).digest("hex").slice(0, 40)}-${operation}`;
}
