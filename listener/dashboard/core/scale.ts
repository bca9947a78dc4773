/** Where the marks of a chart's axes lie. Pure. */

const STEPS = [1, 2, 2.5, 5, 10];
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const SPANS = [1, 5, 15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR];

/** Round values from 0 to at least `max`, `apart` or more from each other, about `count` of them. The last is the top of the axis. */
export function roundMarks(max: number, count: number, apart = 1e-6): number[] {
  const least = Math.max(max / count, apart);
  const power = 10 ** Math.floor(Math.log10(least));
  const step = power * STEPS.find(each => each * power >= least * 0.999)!;
  return Array.from({ length: Math.max(1, Math.ceil(max / step - 1e-9)) + 1 }, (_, i) => Number((i * step).toPrecision(12)));
}

/** Full minutes, hours or days of [from, to] (seconds), at most `count` and one. `offset`: seconds that local time is ahead. */
export function timeMarks(from: number, to: number, count: number, offset = 0): number[] {
  const least = (to - from) / Math.max(1, count);
  const step = SPANS.find(each => each >= least) ?? Math.ceil(least / DAY) * DAY;
  const marks: number[] = [];
  for (let at = Math.ceil((from + offset) / step) * step - offset; at <= to; at += step) marks.push(at);
  return marks;
}
