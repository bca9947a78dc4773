/** What the API answers, as far as the page reads it. The schemas of listener/api are the truth. */

export type BlockRef = { number: number; hash: string };
export type QueueCounts = { pending: number; inFlight: number; done: number; failed: number };

export type Status = {
  chainId: number;
  head: number | null;
  headAt: string | null;
  tip: BlockRef | null;
  finalized: BlockRef | null;
  lag: number | null;
  leader: string | null;
  queueBackend: "redis" | "postgres";
  auditedTo: number | null;
  reorgs: number;
  events: number;
  /** While final blocks are read by ranges. */
  backfill?: { from: number; to: number; at: number; blocksPerSecond: number; eventsPerSecond: number; secondsLeft: number | null } | null;
  deadLetters: number;
  queues: Record<string, QueueCounts>;
};

/** Counts over time; the last point is not over yet. `events` are per second, `latency` is in milliseconds. */
export type Activity = {
  step: number;
  points: {
    time: number;
    events: Record<string, number>;
    reorgs: number;
    lag: number | null;
    latency: { p50: number; p95: number } | null;
    queues: Record<string, { done: number; failed: number }>;
  }[];
};

export type EventStatus = "included" | "finalized" | "orphaned" | "undecodable";

export type EventView = {
  id: string;
  position: number;
  contract: string;
  address: string;
  name: string;
  arguments: Record<string, unknown> | null;
  status: EventStatus;
  error: string | null;
  block: BlockRef & { timestamp: number };
  transactionHash: string;
  logIndex: number;
};

export type Delivery = {
  queue: string;
  position: number;
  operation: "apply" | "revert" | "run" | "replay";
  state: "pending" | "sent" | "done" | "dead";
  attempts: number;
  lastError: string | null;
  createdAt: string;
  sentAt: string | null;
  doneAt: string | null;
};

/** A message of an event to an endpoint; `status` and `error` are of the last answer, `nextAt` is that of the next attempt. */
export type ToldWebhook = {
  endpoint: string;
  url: string;
  sequence: number;
  operation: "event" | "reverted" | "test";
  state: "pending" | "done" | "dead";
  attempts: number;
  nextAt: string | null;
  status: number | null;
  error: string | null;
  createdAt: string;
  doneAt: string | null;
};

export type EventTrace = EventView & { topics: string[]; data: string; seenAt: string; deliveries: Delivery[]; webhooks: ToldWebhook[] };

export type Queue = QueueCounts & {
  name: string;
  kind: "projection" | "task" | "carried";
  handler: string;
  finality: "finalized" | "safe" | "latest" | number;
  events: string[];
  batch: number;
  ordered: boolean;
  /** Deliveries settled per second over the last minute. */
  rate?: number;
  /** Seconds that the first open delivery has waited. */
  oldestAge?: number | null;
};

export type DeadLetter = {
  queue: string;
  position: number;
  operation: Delivery["operation"];
  events: string[];
  attempts: number;
  lastError: string | null;
  at: string;
};

export type Page<Item> = { items: Item[]; nextCursor: string | null };

/** An attempt to deliver to a webhook; `status` is null where there was no answer. `duration` is in milliseconds. */
export type LastAttempt = { at: string; duration: number; status: number | null; error: string | null };
export type Attempt = LastAttempt & { number: number; sequence: number; attempt: number; answer: string | null };

export type Endpoint = {
  id: string;
  url: string;
  description: string;
  events: string[];
  filter: Record<string, unknown>;
  finality: "finalized" | "safe" | "latest" | number;
  ordered: boolean;
  batch: number;
  timeout: number;
  concurrency: number;
  state: "active" | "paused" | "disabled";
  reason: string | null;
  secrets: { createdAt: string; until: string | null }[];
  breaker: { state: "closed" | "open"; failures: number; probeAt: string | null };
  counts: { pending: number; dead: number; delivered: number; failed: number };
  oldestPending: string | null;
  lastAttempt: LastAttempt | null;
};
