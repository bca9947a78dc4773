import { computed, signal } from "@preact/signals";
import type { EventView, Status } from "./answers.ts";
import { ask } from "./api.ts";

/** What the page is told as it happens: where the chain stands, and what its contracts said. */

/** A line of the feed: an event, or the reorg that took events back. */
export type EventLine = { kind: "event"; key: string; event: EventView; takenBack: boolean; fresh: boolean };
export type ReorgLine = { kind: "reorg"; key: string; ancestor: number; removed: number; at: number };
export type Line = EventLine | ReorgLine;

/** Lines that are kept, the newest first. */
const KEPT = 500;
/** Milliseconds of silence after which what is shown may no longer be true. */
export const SILENCE = 5_000;

export const status = signal<Status | undefined>(undefined);
export const feed = signal<readonly Line[]>([]);
/** False until the first events, or that there are none, have come. */
export const feedLoaded = signal(false);
/** When we last heard of the API. */
const heardAt = signal(Date.now());
/** The time, once a second. */
export const now = signal(Date.now());
export const stale = computed(() => now.value - heardAt.value > SILENCE);
export const silentFor = computed(() => now.value - heardAt.value);

export function heard(): void {
  heardAt.value = Date.now();
}

export function takeStatus(next: Status): void {
  heard();
  status.value = next;
}

/** Adds events, each once, in the order of the journal. One that came with the first page is not called fresh. */
export function takeEvents(events: readonly EventView[], fresh: boolean): void {
  feedLoaded.value = true;
  const known = new Map(feed.value.flatMap(line => (line.kind === "event" ? [[line.key, line] as const] : [])));
  const added = events.filter(({ position }) => !known.has(String(position)));
  const changed = events.filter(event => event.status === "orphaned" && known.get(String(event.position))?.takenBack === false);
  if (added.length === 0 && changed.length === 0) return;
  const orphaned = new Set(changed.map(({ position }) => String(position)));
  const lines = added.map(
    (event): EventLine => ({ kind: "event", key: String(event.position), event, takenBack: event.status === "orphaned", fresh }),
  );
  const marked = feed.value.map(line => (orphaned.has(line.key) && line.kind === "event" ? { ...line, takenBack: true } : line));
  const newest = lines.sort((a, b) => b.event.position - a.event.position);
  // What came last stands first; only a first page that comes late has to be put below what the stream said meanwhile.
  feed.value = (fresh ? [...newest, ...marked] : [...marked, ...newest]).slice(0, KEPT);
}

/** Marks what a reorg took back. `removed` are ids of events; an id may be known from an earlier inclusion as well. */
export function takeReorg({ ancestor, removed, at }: { ancestor: number; removed: readonly string[]; at: number }): void {
  const gone = new Set(removed);
  const marked = feed.value.map(line => (line.kind === "event" && gone.has(line.event.id) ? { ...line, takenBack: true } : line));
  const line: ReorgLine = { kind: "reorg", key: `reorg-${at}-${ancestor}`, ancestor, removed: removed.length, at };
  if (feed.value.some(({ key }) => key === line.key)) return;
  feed.value = [line, ...marked].slice(0, KEPT);
}

/** Keeps the page up to date until the returned function is called. */
export function follow(): () => void {
  const clock = setInterval(() => {
    now.value = Date.now();
  }, 1_000);
  let going = true;
  const poll = async () => {
    while (going) {
      await Promise.allSettled([
        ask<Status>("status").then(takeStatus),
        ask<{ items: EventView[] }>("events?limit=100").then(({ items }) => takeEvents(items, feedLoaded.value)),
      ]);
      await new Promise(resolve => setTimeout(resolve, 1_000));
    }
  };
  void poll();
  return () => {
    going = false;
    clearInterval(clock);
  };
}
