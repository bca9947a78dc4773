import { duration, rate, whole } from "../core/format.ts";
import { status } from "../core/live.ts";
import { Panel } from "./panel.tsx";

/** How far the reading of old blocks has come. Nothing once the head is followed. */
export function BackfillProgress() {
  const backfill = status.value?.backfill;
  if (!backfill) return null;
  const { from, to, at, blocksPerSecond, eventsPerSecond, secondsLeft } = backfill;
  const share = Math.min(1, (at - from + 1) / Math.max(1, to - from + 1));
  return (
    <Panel
      title="Backfill"
      hint={`blocks ${whole(from)} to ${whole(to)}, ${secondsLeft === null ? "remaining time not known yet" : `about ${duration(secondsLeft * 1_000)} left`}`}
    >
      <progress aria-label="Backfill" value={share} max={1} />
      <p class="muted spread">
        <span>
          at block {whole(at)} ({Math.floor(share * 100)} %)
        </span>
        <span>
          {rate(blocksPerSecond)} blocks/s, {rate(eventsPerSecond)} events/s
        </span>
      </p>
    </Panel>
  );
}
