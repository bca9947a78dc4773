import { useComputed, useSignal } from "@preact/signals";
import { argument, plural } from "../core/format.ts";
import { type EventLine, feed, feedLoaded, type Line, status } from "../core/live.ts";
import { linkTo } from "../core/location.ts";
import { EventHead } from "./event-head.tsx";
import { Empty, Panel, Scroll } from "./panel.tsx";
import { Ago, Arguments, EventState } from "./words.tsx";

/** Milliseconds for which a line is marked as new. */
const FRESH = 1_000;

/** What the contracts said, as it happens. While it is paused the lines stand still and new ones are counted. */
export function Feed({ limit }: { limit: number }) {
  const held = useSignal<readonly Line[] | undefined>(undefined);
  const text = useSignal("");
  const name = useSignal("");
  const lines = useComputed(() => (held.value ? stillHeld(held.value, feed.value) : feed.value));
  const names = useComputed(() => [...new Set(feed.value.flatMap(line => (line.kind === "event" ? [line.event.name] : [])))].sort());
  const shown = useComputed(() => lines.value.filter(line => matches(line, text.value, name.value)).slice(0, limit));
  const waiting = held.value ? feed.value.findIndex(line => line.key === held.value![0]?.key) : 0;
  const pause = () => {
    held.value = held.value ? undefined : feed.value;
  };

  return (
    <Panel
      title="Live feed"
      flush
      hint={held.value ? `paused, ${plural(Math.max(0, waiting), "new line")} waiting` : undefined}
      actions={
        <>
          <input
            type="search"
            aria-label="Filter the feed by text"
            placeholder="Name, address, block"
            value={text}
            onInput={event => {
              text.value = event.currentTarget.value;
            }}
          />
          <select
            aria-label="Show one kind of event"
            value={name}
            onChange={event => {
              name.value = event.currentTarget.value;
            }}
          >
            <option value="">All events</option>
            {names.value.map(each => (
              <option key={each} value={each}>
                {each}
              </option>
            ))}
          </select>
          <button type="button" aria-pressed={held.value !== undefined} onClick={pause}>
            {held.value ? "Resume" : "Pause"}
          </button>
        </>
      }
    >
      {shown.value.length === 0 ? <Nothing filtered={feed.value.length > 0} /> : <Lines lines={shown.value} />}
    </Panel>
  );
}

function Nothing({ filtered }: { filtered: boolean }) {
  if (filtered) return <Empty>No line matches the filter.</Empty>;
  if (!feedLoaded.value) return <Empty>Waiting for the first events…</Empty>;
  if (status.value && status.value.leader === null) return <Empty command="npm run listen">No listener follows the chain.</Empty>;
  return <Empty command="npx hardhat run scripts/traffic.ts --network localhost">The contracts have said nothing yet.</Empty>;
}

function Lines({ lines }: { lines: readonly Line[] }) {
  const finalized = status.value?.finalized?.number ?? -1;
  return (
    <Scroll name="Events, the newest first" class="feed live">
      <table>
        <EventHead />
        <tbody>
          {lines.map(line =>
            line.kind === "event" ? (
              <EventRow key={line.key} line={line} finalized={finalized} />
            ) : (
              <tr key={line.key} class="reorg">
                <td class="number">{line.ancestor}</td>
                <td colSpan={3}>
                  Reorg: back to block {line.ancestor}, {plural(line.removed, "event")} taken back
                </td>
                <td class="number">
                  <Ago at={line.at} />
                </td>
              </tr>
            ),
          )}
        </tbody>
      </table>
    </Scroll>
  );
}

function EventRow({ line: { event, takenBack, arrivedAt }, finalized }: { line: EventLine; finalized: number }) {
  const final = event.status === "included" && event.block.number <= finalized;
  const state = takenBack ? "orphaned" : final ? "finalized" : event.status;
  return (
    <tr class={`${takenBack ? "taken-back" : ""} ${Date.now() - arrivedAt < FRESH ? "fresh" : ""}`}>
      <td class="number">{event.block.number}</td>
      <td>
        <a class="event-name" href={linkTo("events", event.id)}>
          {event.name}
        </a>
      </td>
      <td class="wide">
        <Arguments event={event} />
      </td>
      <td>
        <EventState status={state} />
      </td>
      <td class="number muted">
        <Ago at={event.block.timestamp * 1_000} />
      </td>
    </tr>
  );
}

/** Lines that were there when the feed was paused, as they are now: a reorg marks them all the same. */
function stillHeld(held: readonly Line[], current: readonly Line[]): readonly Line[] {
  const latest = new Map(current.map(line => [line.key, line]));
  return held.map(line => latest.get(line.key) ?? line);
}

function matches(line: Line, text: string, name: string): boolean {
  if (line.kind === "reorg") return text === "" && name === "";
  const { event } = line;
  if (name !== "" && event.name !== name) return false;
  if (text === "") return true;
  const words = [
    event.name,
    event.contract,
    event.block.number,
    event.transactionHash,
    ...Object.values(event.arguments ?? {}).map(argument),
  ];
  return words.join(" ").toLowerCase().includes(text.trim().toLowerCase());
}
