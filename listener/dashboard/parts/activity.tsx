import { signal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import type { Activity } from "../core/answers.ts";
import { useFetched } from "../core/fetched.ts";
import { duration, rate, whole } from "../core/format.ts";
import { Chart, type Series } from "./chart.tsx";
import { Panel } from "./panel.tsx";

const WINDOWS = { "15m": "15 min", "1h": "1 hour", "24h": "24 hours" } as const;
/** How many lines a chart has at most; the rest is one line of its own. */
const LINES = 5;
/** How many points a chart shows at least. */
const SHORTEST = 18;

const chosen = signal<keyof typeof WINDOWS>("15m");

export const useActivity = (window: keyof typeof WINDOWS, every: number) =>
  useFetched<Activity>(`activity?window=${window}`, { every }).value.data;

/** What went on: events, how late, how long, and what the queues did. */
export function ActivityCharts() {
  const activity = useActivity(chosen.value, chosen.value === "15m" ? 3_000 : 15_000);
  const lines = useMemo(() => linesOf(activity), [activity]);
  return (
    <Panel
      title="Activity"
      actions={
        <fieldset class="segments">
          <legend class="sr-only">Time shown</legend>
          {(Object.keys(WINDOWS) as (keyof typeof WINDOWS)[]).map(each => (
            <label key={each}>
              <input
                type="radio"
                name="window"
                checked={chosen.value === each}
                onChange={() => {
                  chosen.value = each;
                }}
              />
              <span>{WINDOWS[each]}</span>
            </label>
          ))}
        </fieldset>
      }
    >
      <div class="charts">
        <Titled title="Events per second" series={lines.events} times={lines.times} format={rate} />
        <Titled title="Latency, block seen to effect applied" series={lines.latency} times={lines.times} format={duration} />
        <Titled title="Lag in blocks" series={lines.lag} times={lines.times} format={whole} apart={1} />
        <Titled title="Jobs settled per second" series={lines.jobs} times={lines.times} format={rate} />
      </div>
    </Panel>
  );
}

type TitledProps = {
  title: string;
  times: readonly number[];
  series: readonly Series[];
  format: (value: number) => string;
  apart?: number;
};
const Titled = (props: TitledProps) => (
  <div>
    <h3>{props.title}</h3>
    <Chart {...props} height={132} />
  </div>
);

/** The lines of the charts. The last point is not over yet, so rates leave it out. */
function linesOf(activity: Activity | undefined) {
  const points = lived(activity?.points.slice(0, -1) ?? []);
  const step = activity?.step ?? 1;
  const queues = Object.keys(points[0]?.queues ?? {});
  const failed = points.map(point => queues.reduce((sum, queue) => sum + point.queues[queue]!.failed, 0) / step);
  return {
    times: points.map(({ time }) => time),
    events: busiest(points.map(({ events }) => events)),
    latency: [
      { name: "p50", values: points.map(({ latency }) => latency?.p50 ?? null) },
      { name: "p95", values: points.map(({ latency }) => latency?.p95 ?? null) },
    ],
    lag: [{ name: "lag", values: points.map(({ lag }) => lag) }],
    jobs: [
      ...queues.slice(0, LINES).map(queue => ({ name: queue, values: points.map(point => point.queues[queue]!.done / step) })),
      { name: "failed", values: failed },
    ],
  };
}

/** Without the time before anything ran, which says nothing. */
function lived(points: Activity["points"]): Activity["points"] {
  const first = points.findIndex(({ lag, latency, events }) => lag !== null || latency !== null || Object.keys(events).length > 0);
  return points.slice(Math.max(0, Math.min(first, points.length - SHORTEST)));
}

/** A line per kind of event: those that happened most, and the others together. */
function busiest(points: readonly Record<string, number>[]): Series[] {
  const totals = new Map<string, number>();
  for (const point of points) for (const [name, value] of Object.entries(point)) totals.set(name, (totals.get(name) ?? 0) + value);
  const names = [...totals].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  const shown = names.slice(0, LINES);
  const lines = shown.map(name => ({ name: name.replace(/^.*\./, ""), values: points.map(point => point[name] ?? 0) }));
  const rest = names.slice(LINES);
  if (rest.length > 0) lines.push({ name: "other", values: points.map(point => rest.reduce((sum, name) => sum + (point[name] ?? 0), 0)) });
  return lines.length > 0 ? lines : [{ name: "events", values: points.map(() => 0) }];
}
