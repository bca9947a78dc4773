import { batch, computed, signal } from "@preact/signals";
import type { BlockRef, EventView, Status } from "./answers.ts";
import { ask } from "./api.ts";

/** What the page is told as it happens: where the chain stands, and what its contracts said. */

/** A line of the feed: an event, or the reorg that took events back. */
export type EventLine = { kind: "event"; key: string; event: EventView; takenBack: boolean; arrivedAt: number };
export type ReorgLine = { kind: "reorg"; key: string; ancestor: number; removed: number; at: number };
export type Reorg = { ancestor: BlockRef; removed: readonly string[]; at: string };
export type Line = EventLine | ReorgLine;

/** Lines that are kept, the newest first. */
const KEPT = 500;
/** Milliseconds in which arrivals are gathered, and after which a refused stream is opened again. */
const GATHERED = 60;
const AGAIN = 2_000;
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
    (event): EventLine => ({
      kind: "event",
      key: String(event.position),
      event,
      takenBack: event.status === "orphaned",
      arrivedAt: fresh ? Date.now() : 0,
    }),
  );
  const marked = feed.value.map(line => (orphaned.has(line.key) && line.kind === "event" ? { ...line, takenBack: true } : line));
  const newest = lines.sort((a, b) => b.event.position - a.event.position);
  // What came last stands first; only a first page that comes late has to be put below what the stream said meanwhile.
  feed.value = (fresh ? [...newest, ...marked] : [...marked, ...newest]).slice(0, KEPT);
}

/** Marks what a reorg took back. `removed` are ids of events; an id may be known from an earlier inclusion as well. */
export function takeReorg({ ancestor, removed, at }: Reorg): void {
  const gone = new Set(removed);
  const marked = feed.value.map(line => (line.kind === "event" && gone.has(line.event.id) ? { ...line, takenBack: true } : line));
  const line: ReorgLine = {
    kind: "reorg",
    key: `reorg-${at}-${ancestor.hash}`,
    ancestor: ancestor.number,
    removed: removed.length,
    at: Date.parse(at),
  };
  feed.value = [line, ...marked].slice(0, KEPT);
}

/** Keeps the page up to date, as long as it is open. */
export function follow(): void {
  setInterval(() => {
    now.value = Date.now();
  }, 1_000);
  open();
}

/**
 * Opens the stream and then reads the newest events, so that nothing lies between the two. A stream that breaks off is
 * taken up by the browser where it ended; one that is refused (no key, or a journal that was begun anew) is opened again
 * from the start.
 */
function open(): void {
  const stream = new EventSource("api/v1/stream");
  const arrived = collect();
  let begun = false;
  stream.onopen = () => {
    heard();
    if (begun) return;
    begun = true;
    void readNewest();
  };
  stream.addEventListener("event", ({ data }) => arrived({ event: JSON.parse(data) as EventView }));
  stream.addEventListener("reorg", ({ data }) => arrived({ reorg: JSON.parse(data) as Reorg }));
  stream.addEventListener("status", ({ data }) => takeStatus(JSON.parse(data) as Status));
  stream.onerror = () => {
    if (stream.readyState !== EventSource.CLOSED) return;
    // The stream does not say why it was refused; an ordinary question does.
    void ask("status").catch(() => {});
    setTimeout(open, AGAIN);
  };
}

async function readNewest(): Promise<void> {
  feed.value = [];
  const { items } = await ask<{ items: EventView[] }>("events?limit=100").catch(() => ({ items: [] }));
  takeEvents(items, false);
}

type Arrival = { event: EventView; reorg?: undefined } | { reorg: Reorg; event?: undefined };

/** Takes what arrives a few times a second: a burst of thousands of events is drawn a few times, not thousands of times. */
function collect(): (arrival: Arrival) => void {
  let waiting: Arrival[] = [];
  const flush = () => {
    const arrivals = waiting;
    waiting = [];
    batch(() => {
      let events: EventView[] = [];
      for (const { event, reorg } of arrivals) {
        if (event) events.push(event);
        if (!reorg) continue;
        takeEvents(events, true);
        takeReorg(reorg);
        events = [];
      }
      takeEvents(events, true);
    });
  };
  return arrival => {
    heard();
    if (waiting.push(arrival) === 1) setTimeout(flush, GATHERED);
  };
}
