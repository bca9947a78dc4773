import { z } from "zod";
import type { App } from "../app.ts";
import type { Sql } from "../db.ts";
import { readStatus } from "../journal/status.ts";
import { BACKENDS, type BackendKind } from "../queues/backend.ts";
import { read } from "./read.ts";
import { blockNumber, blockRef, count, typeNames } from "./schemas.ts";

export const queueCounts = z.object({
  pending: count.describe("deliveries that wait to be sent"),
  inFlight: count.describe("sent to BullMQ and not settled"),
  done: count,
  failed: count.describe("dead letters"),
});

export const status = z.object({
  chainId: z.int(),
  head: blockNumber.nullable().describe("the chain's, as the writer last saw it"),
  headAt: z.string().nullable().describe("when the node last gave a head, ISO 8601"),
  tip: blockRef.nullable().describe("the last block in the journal"),
  finalized: blockRef.nullable(),
  lag: count.nullable().describe("blocks between head and tip"),
  leader: z.string().nullable().describe("the listener that writes now; null when none does"),
  queueBackend: z.enum(BACKENDS).describe("where BullMQ keeps its jobs, as this server is configured"),
  halted: z
    .object({
      reason: z.string(),
      block: blockNumber.nullable().describe("the final block that the chain no longer holds"),
      at: z.string(),
    })
    .nullable()
    .describe("why nothing is written or delivered until `npm run resync`; null where all is well"),
  auditedTo: blockNumber.nullable().describe("up to this block everything, effects included, was found to be what the chain says"),
  audit: z.object({ at: z.string(), failures: count }).nullable().describe("when the last audit ended, and how many differences it found"),
  reorgs: count,
  events: count.describe("journalled so far, those of reorgs too"),
  backfill: z
    .object({
      from: blockNumber,
      to: blockNumber,
      at: blockNumber.describe("the last block read"),
      blocksPerSecond: z.number(),
      eventsPerSecond: z.number(),
      secondsLeft: count.nullable(),
    })
    .nullable()
    .describe("while final blocks are read by ranges: which, how far, and how fast since it began"),
  deadLetters: count,
  queues: z.record(z.string(), queueCounts),
  nodes: z
    .array(
      z.object({
        url: z.string().describe("without its secrets"),
        state: z.enum(["ok", "resting", "limited", "refused", "behind", "lying"]),
        reason: z.string().nullable(),
        since: z.string().describe("ISO 8601"),
        latency: z.number().nullable().describe("milliseconds of a small call, a moving average"),
        rateLimit: z.number().nullable().describe("requests a second that it was found to allow; null where it never complained"),
      }),
    )
    .describe("the nodes of the chain, as the writer last saw them"),
});

typeNames.add(status, { name: "Status" });

/** A status with every queue of the application, those that had no delivery yet too. */
export async function readWholeStatus(app: App, queueBackend: BackendKind, sql: Sql, chainId: number): Promise<z.output<typeof status>> {
  const queues = app.routes.map(({ queue }) => queue);
  return { ...(await readStatus(sql, chainId, queues)), queueBackend };
}

/** Where we stand, in one answer. */
export const statusRead = (app: App, queueBackend: BackendKind) =>
  read({
    path: "status",
    tag: "status",
    summary: "Head, tip, finality, lag, leader, queues",
    response: status,
    handle: ({ sql, chainId }) => readWholeStatus(app, queueBackend, sql, chainId),
  });
