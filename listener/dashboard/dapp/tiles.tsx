import type { ComponentChildren } from "preact";
import { useFetched } from "../core/fetched.ts";
import { short, whole } from "../core/format.ts";
import { now, status } from "../core/live.ts";
import { Tile } from "../parts/tile.tsx";
import { Pill } from "../parts/words.tsx";
import { Demo } from "./demo.tsx";
import { SYMBOL, tokens } from "./token.ts";

type Statistics = { supply: string; holders: number; registered: number; transfers: number; paused: boolean; solutions: number };
type Series = { points: { time: number; value: string }[] };

/** The token in numbers, and on a development chain what one can do to it. `children`: tiles of the core. */
export function TokenOverview({ children }: { children: ComponentChildren }) {
  const statistics = useFetched<Statistics>("statistics", { every: 2_000 }).value.data;
  const transfers = useFetched<Series>("statistics/series?metric=transfers&resolution=minute&limit=2", { every: 2_000 }).value.data;
  return (
    <>
      <dl class="tiles">
        <Tile name="Supply" value={statistics ? tokens(statistics.supply).replace(/\..*/, "") : "–"} unit={SYMBOL} />
        <Tile name="Holders" value={whole(statistics?.holders)} />
        <Tile name="Registered" value={whole(statistics?.registered)} />
        <Tile name="Transfers" value={transfers ? short(lastMinute(transfers)) : "–"} unit="per minute" />
        <Tile name="Token">
          {statistics ? <Pill tone={statistics.paused ? "warn" : "good"}>{statistics.paused ? "paused" : "running"}</Pill> : "–"}
        </Tile>
        {children}
      </dl>
      <Demo paused={statistics?.paused} />
    </>
  );
}

/** The last full minute weighted with the one that runs, so that the number neither jumps nor lags. By the chain's clock. */
function lastMinute({ points }: Series): number {
  const second = Math.floor(now.value / 1_000);
  const minute = second - (second % 60);
  const at = (time: number) => Number(points.find(point => point.time === time)?.value ?? 0);
  const share = (second - minute) / 60;
  return status.value ? Math.round(at(minute) + at(minute - 60) * (1 - share)) : 0;
}
