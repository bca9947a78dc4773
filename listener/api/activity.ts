import { z } from "zod";
import type { App } from "../app.ts";
import { type Count, latencyOf, readActivity, WINDOWS, type Window } from "../journal/activity.ts";
import { read } from "./read.ts";
import { count } from "./schemas.ts";

const windows = Object.keys(WINDOWS) as [Window, ...Window[]];

const point = z.object({
  time: z.int().describe("its start, in seconds since 1970"),
  events: z.record(z.string(), z.number()).describe("per second, by Contract.Event; what did not happen is left out"),
  reorgs: count,
  lag: count.nullable().describe("the most blocks between head and tip; null where nobody led"),
  latency: z
    .object({ p50: z.number(), p95: z.number() })
    .nullable()
    .describe(
      "milliseconds from the listener's sight of a block to the applied effect, right to an eighth; null where nothing was applied",
    ),
  queues: z.record(z.string(), z.object({ done: count, failed: count })).describe("deliveries settled, every queue"),
});
type Point = z.output<typeof point>;

export const activity = z.object({ window: z.enum(windows), step: z.int().describe("seconds of a point"), points: z.array(point) });

/** What the charts of the last minutes, hour or day show. */
export const activityRead = (app: App) =>
  read({
    path: "activity",
    tag: "status",
    summary: "Events, lag, latency and jobs over the last 15 minutes, hour or day",
    description:
      "Every point of the window, the oldest first; the last one is not over yet. Counted by the processes as they work. An answer holds for a second.",
    holds: 1_000,
    query: z.strictObject({ window: z.enum(windows).default("15m") }),
    response: activity,
    async handle({ sql, chainId, query: { window } }) {
      const { step, seconds } = WINDOWS[window];
      const { now, from, counts } = await readActivity(sql, chainId, window);
      const byTime = Map.groupBy(counts, ({ time }) => time);
      const queues = app.routes.map(({ queue }) => queue);
      const points = Array.from({ length: seconds / step }, (_, i) => {
        const time = from + i * step;
        return pointOf(byTime.get(time) ?? [], { time, length: Math.max(1, Math.min(step, now - time)), queues });
      });
      return { window, step, points };
    },
  });

function pointOf(counts: readonly Count[], { time, length, queues }: { time: number; length: number; queues: readonly string[] }): Point {
  const of = (metric: Count["metric"]) => counts.filter(found => found.metric === metric);
  const value = (metric: Count["metric"], label: string) => of(metric).find(found => found.label === label)?.value;
  return {
    time,
    events: Object.fromEntries(of("event").map(({ label, value }) => [label, Number((value / length).toPrecision(4))])),
    reorgs: value("reorg", "") ?? 0,
    lag: value("lag", "") ?? null,
    latency: percentilesOf(of("latency").map(({ label, value }) => ({ bin: Number(label), value }))),
    queues: Object.fromEntries(queues.map(queue => [queue, { done: value("done", queue) ?? 0, failed: value("failed", queue) ?? 0 }])),
  };
}

function percentilesOf(bins: { bin: number; value: number }[]): Point["latency"] {
  if (bins.length === 0) return null;
  bins.sort((a, b) => a.bin - b.bin);
  const total = bins.reduce((sum, { value }) => sum + value, 0);
  const at = (share: number) => {
    let seen = 0;
    return latencyOf(bins.find(({ value }) => (seen += value) >= share * total)!.bin);
  };
  return { p50: at(0.5), p95: at(0.95) };
}
