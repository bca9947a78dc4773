/** How numbers, times and names of the chain are written on the page. Pure. */

const grouped = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en-GB", { notation: "compact", maximumFractionDigits: 1 });
const rounded = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 3 });

/** `12,345`; a dash where there is none. */
export const whole = (value: number | bigint | null | undefined): string =>
  value === null || value === undefined ? "–" : grouped.format(value);

/** `1.2K` from ten thousand on. */
export const short = (value: number): string => (Math.abs(value) < 10_000 ? grouped.format(value) : compact.format(value));

/** `0.12`, `3.4`, `120`. */
export const rate = (value: number): string => (value >= 100 ? grouped.format(value) : rounded.format(value));

/** Milliseconds as `28 ms`, `1.4 s`, `3 min`. */
export function duration(milliseconds: number | null | undefined): string {
  if (milliseconds === null || milliseconds === undefined) return "–";
  if (milliseconds < 1_000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1_000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  const minutes = seconds / 60;
  if (minutes < 100) return `${Math.round(minutes)} min`;
  const hours = minutes / 60;
  return hours < 48 ? `${Math.round(hours)} h` : `${Math.round(hours / 24)} d`;
}

/** How long ago: `now`, `12 s`, `3 min`. Clocks of nodes may be a little ahead. */
export function age(since: number, now: number): string {
  const seconds = Math.floor((now - since) / 1_000);
  return seconds < 1 ? "now" : seconds < 100 ? `${seconds} s` : duration(seconds * 1_000);
}

/** A time of day with milliseconds, for comparing steps that lie close together. */
export function clock(time: string | number | Date): string {
  const date = new Date(time);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

export const dateAndTime = (time: string | number | Date): string =>
  new Date(time).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** `0x15d34a…6a65`. What is no hash or address stays as it is. */
export const abbreviate = (hex: string): string => (/^0x[0-9a-fA-F]{16,}$/.test(hex) ? `${hex.slice(0, 8)}…${hex.slice(-4)}` : hex);

export const isAddress = (text: unknown): text is string => typeof text === "string" && /^0x[0-9a-fA-F]{40}$/.test(text);
export const isHash = (text: unknown): text is string => typeof text === "string" && /^0x[0-9a-fA-F]{64}$/.test(text);

/** `applied`, `1 event`, `3 events`. */
export const plural = (count: number, one: string, many = `${one}s`): string => `${grouped.format(count)} ${count === 1 ? one : many}`;

/** What a person may read of an argument: text and numbers as they are, lists and structs as JSON. */
export const argument = (value: unknown): string => visible(typeof value === "string" ? value : JSON.stringify(value));

/** Text of a stranger in which nothing is hidden: what turns the reading direction round, or is no character at all, is spelt out. */
export const visible = (text: string): string =>
  text.replace(
    /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu,
    unseen => `\\u${unseen.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
