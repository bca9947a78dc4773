import { duration } from "../core/format.ts";
import { application } from "../dapp/application.tsx";
import { ActivityCharts, useActivity } from "../parts/activity.tsx";
import { BackfillProgress } from "../parts/backfill.tsx";
import { Feed } from "../parts/feed.tsx";
import { Tile } from "../parts/tile.tsx";

/** `#/`: everything at a glance. */
export function Overview() {
  const activity = useActivity("15m", 3_000);
  const latency = activity?.points.findLast(point => point.latency !== null)?.latency;
  return (
    <>
      <h1 class="sr-only">Overview</h1>
      <BackfillProgress />
      <application.Overview>
        <Tile name="Block to applied" value={duration(latency?.p95)} unit="p95" />
      </application.Overview>
      <div class="overview">
        <Feed limit={100} />
        <ActivityCharts />
      </div>
    </>
  );
}
