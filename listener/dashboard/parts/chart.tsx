import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { roundMarks, timeMarks } from "../core/scale.ts";

export type Series = { name: string; values: readonly (number | null)[] };
type Props = {
  /** Said to a screen reader, which does not see the lines. */
  title: string;
  /** Seconds since 1970, ascending. */
  times: readonly number[];
  series: readonly Series[];
  format: (value: number) => string;
  /** A value holds until the next one. */
  stepped?: boolean;
  height?: number;
  /** The least distance between two marks: 1 for what is counted in whole numbers. */
  apart?: number;
};

const [LEFT, RIGHT, TOP, BOTTOM] = [52, 10, 8, 20];
const COLOURS = 6;
const MARK_WIDTH = 84;

/** Lines over time, with what they are at the pointer, or last, below. */
export function Chart({ title, times, series, format, stepped = false, height = 150, apart }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const width = useSignal(600);
  const pointed = useSignal<number | undefined>(undefined);
  useEffect(() => {
    const sized = new ResizeObserver(([entry]) => {
      width.value = Math.max(160, Math.round(entry!.contentRect.width));
    });
    sized.observe(place.current!);
    return () => sized.disconnect();
  }, []);

  const [from, to] = [times[0] ?? 0, times.at(-1) ?? 0];
  const marks = roundMarks(Math.max(0, ...series.flatMap(({ values }) => values.map(value => value ?? 0))), 3, apart);
  const x = (time: number) => LEFT + ((time - from) / Math.max(1, to - from)) * (width.value - LEFT - RIGHT);
  const y = (value: number) => TOP + (1 - value / (marks.at(-1) || 1)) * (height - TOP - BOTTOM);
  const shown = Math.min(pointed.value ?? times.length - 1, times.length - 1);
  const spell = (value: number | null | undefined) => (value === null || value === undefined ? "–" : format(value));
  const point = (event: PointerEvent) => {
    const time = from + ((event.offsetX - LEFT) / (width.value - LEFT - RIGHT)) * (to - from);
    const after = times.findIndex(each => each >= time);
    pointed.value = after <= 0 ? (after < 0 ? times.length - 1 : 0) : after - (times[after]! - time > time - times[after - 1]! ? 1 : 0);
  };
  const leave = () => {
    pointed.value = undefined;
  };

  return (
    <figure class="chart">
      <div ref={place}>
        <svg
          role="img"
          aria-label={`${title}. Last: ${series.map(({ name, values }) => `${name} ${spell(values.at(-1))}`).join(", ")}.`}
          viewBox={`0 0 ${width.value} ${height}`}
          height={height}
          onPointerMove={point}
          onPointerLeave={leave}
        >
          {marks.map(mark => (
            <g key={mark}>
              <path class="grid" d={`M${LEFT} ${y(mark)}H${width.value - RIGHT}`} />
              <text class="mark" x={LEFT - 8} y={y(mark) + 4} text-anchor="end">
                {format(mark)}
              </text>
            </g>
          ))}
          {timeMarks(from, to, Math.floor(width.value / MARK_WIDTH), -60 * new Date().getTimezoneOffset()).map(mark => (
            <text key={mark} class="mark" x={x(mark)} y={height - 4} text-anchor={x(mark) > width.value - 24 ? "end" : "middle"}>
              {moment(mark, to - from)}
            </text>
          ))}
          {series.map(({ name, values }, i) => (
            <path key={name} class={`line series-${colour(i)}`} d={lineOf(values, i => x(times[i]!), y, stepped)} />
          ))}
          {pointed.value !== undefined && times.length > 0 && <path class="pointer" d={`M${x(times[shown]!)} ${TOP}V${height - BOTTOM}`} />}
        </svg>
      </div>
      <figcaption>
        {series.map(({ name, values }, i) => (
          <span key={name} class="key">
            <i class={`series-${colour(i)}`} />
            {name} <b>{spell(values[shown])}</b>
          </span>
        ))}
        {pointed.value !== undefined && times.length > 0 && (
          <span class="muted at">{new Date(times[shown]! * 1_000).toLocaleTimeString("en-GB")}</span>
        )}
      </figcaption>
    </figure>
  );
}

const colour = (index: number) => (index % COLOURS) + 1;

/** A path through the values; where there is none it breaks off, and a value alone is a dot. */
function lineOf(values: readonly (number | null)[], x: (index: number) => number, y: (value: number) => number, stepped: boolean): string {
  let before = false;
  return values
    .map((value, i) => {
      if (value === null) {
        before = false;
        return "";
      }
      const [at, height] = [x(i).toFixed(1), y(value).toFixed(1)];
      const part = !before ? `M${at} ${height}h0.1` : stepped ? `H${at}V${height}` : `L${at} ${height}`;
      before = true;
      return part;
    })
    .join("");
}

function moment(seconds: number, span: number): string {
  const date = new Date(seconds * 1_000);
  if (span > 36 * 3_600) return date.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  const second = span < 300 ? ({ second: "2-digit" } as const) : {};
  return date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", ...second });
}
