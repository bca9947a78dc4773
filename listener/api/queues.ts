import { z } from "zod";
import type { App } from "../app.ts";
import { readRates } from "../journal/activity.ts";
import { countDeliveries, readOldest } from "../journal/status.ts";
import { bullName } from "../queues/backend.ts";
import { read } from "./read.ts";
import { deliveryFinality, time } from "./schemas.ts";
import { queueCounts } from "./status.ts";

export const queue = queueCounts.extend({
  name: z.string(),
  kind: z.enum(["projection", "task", "carried"]),
  handler: z.string().describe("the name of the projection or the task; of a carried queue that of the queue in BullMQ"),
  follows: z.enum(["head", "finality"]),
  finality: deliveryFinality.describe("when an event is delivered: a number is one of confirmations"),
  events: z.array(z.string()).describe("what feeds it"),
  batch: z.int().describe("events per delivery at most"),
  ordered: z.boolean().describe("whether deliveries of one key run one after another"),
  rate: z.number().describe("deliveries settled per second over the last minute"),
  oldestAge: z.number().nullable().describe("how many seconds the first delivery that is not settled has waited"),
  oldest: time.nullable().describe("since when the first delivery that is not settled waits"),
});

/** The routing table, and how each queue stands. */
export const queuesRead = (app: App) =>
  read({
    path: "queues",
    tag: "queues",
    summary: "Every queue: what feeds it and how it stands",
    response: z.object({ items: z.array(queue), nextCursor: z.null() }),
    async handle({ sql, chainId }) {
      const names = app.routes.map(route => route.queue);
      const counts = await countDeliveries(sql, chainId, names);
      const oldest = await readOldest(sql, chainId, names);
      const rates = await readRates(sql, chainId);
      const round = (value: number) => Math.round(value * 100) / 100;
      const items = app.routes.map(route => ({
        name: route.queue,
        kind: route.carry ? ("carried" as const) : route.task ? ("task" as const) : ("projection" as const),
        handler: route.task?.name ?? route.projection?.name ?? bullName(chainId, route.queue),
        follows: route.finality === "latest" ? ("head" as const) : ("finality" as const),
        finality: route.finality,
        events: [...route.events],
        batch: route.batch,
        ordered: route.orderBy !== undefined,
        ...counts[route.queue]!,
        rate: round(rates.get(route.queue) ?? 0),
        oldestAge: oldest.has(route.queue) ? round(oldest.get(route.queue)!.age) : null,
        oldest: oldest.get(route.queue)?.since ?? null,
      }));
      return { items, nextCursor: null };
    },
  });
