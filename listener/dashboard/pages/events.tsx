import { useSignal } from "@preact/signals";
import type { EventView, Queue } from "../core/answers.ts";
import { query } from "../core/api.ts";
import { useFetched } from "../core/fetched.ts";
import { linkTo } from "../core/location.ts";
import { EventHead } from "../parts/event-head.tsx";
import { More, usePages } from "../parts/more.tsx";
import { Empty, Failure, Panel, Scroll } from "../parts/panel.tsx";
import { Ago, Arguments, EventState, Transaction } from "../parts/words.tsx";
import { EventTrace } from "./event-trace.tsx";

/** `#/events`: what the journal holds. `#/events/ID`: one of them. */
export const Events = ({ rest: [id] }: { rest: string[] }) => (id === undefined ? <Journal /> : <EventTrace key={id} id={id} />);

const STATES = ["included", "finalized", "orphaned", "undecodable"] as const;

function Journal() {
  const name = useSignal("");
  const state = useSignal("");
  const toBlock = useSignal("");
  const queues = useFetched<{ items: Queue[] }>("queues").value.data?.items ?? [];
  const names = [...new Set(queues.flatMap(({ events }) => events.map(event => event.replace(/^.*\./, ""))))].sort();
  const below = /^\d{1,15}$/.test(toBlock.value) ? toBlock.value : "";
  const path = `events${query({ limit: 50, name: name.value, status: state.value, toBlock: below })}`;
  const { pages, more } = usePages<EventView>(path, { every: 4_000 });
  return (
    <>
      <h1>Events</h1>
      <Panel
        title="Journal"
        flush
        hint="the newest first"
        actions={
          <>
            <Choice
              label="Kind of event"
              value={name}
              options={[["", "All events"], ...names.map((each): [string, string] => [each, each])]}
            />
            <Choice
              label="State"
              value={state}
              options={[["", "All states"], ...STATES.map((each): [string, string] => [each, each === "orphaned" ? "taken back" : each])]}
            />
            <input
              type="search"
              inputMode="numeric"
              class="narrow"
              aria-label="Up to block"
              placeholder="Up to block"
              value={toBlock}
              onInput={event => {
                toBlock.value = event.currentTarget.value.trim();
              }}
            />
          </>
        }
      >
        <Failure error={pages.error} />
        {pages.items.length === 0 && pages.read > 0 ? (
          <Empty command={path.includes("name=") || path.includes("status=") ? undefined : "npm run listen"}>No events here.</Empty>
        ) : (
          <EventTable events={pages.items} />
        )}
        <More pages={pages} more={more} />
      </Panel>
    </>
  );
}

/** Events with all that is known of them in a line. */
export function EventTable({ events, transaction = true }: { events: readonly EventView[]; transaction?: boolean }) {
  return (
    <Scroll name="Events" class="feed tall">
      <table>
        <EventHead />
        <tbody>
          {events.map(event => (
            <tr key={event.position} class={event.status === "orphaned" ? "taken-back" : ""}>
              <td class="number">{event.block.number}</td>
              <td>
                <a class="event-name" href={linkTo("events", event.id)}>
                  {event.name}
                </a>
              </td>
              <td class="wide">
                <Arguments event={event} />
                {transaction && (
                  <span class="in-transaction">
                    <span class="name">in</span> <Transaction of={event.transactionHash} />
                  </span>
                )}
              </td>
              <td>
                <EventState status={event.status} />
              </td>
              <td class="number muted">
                <Ago at={event.block.timestamp * 1_000} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

type ChoiceProps = { label: string; value: { value: string }; options: readonly (readonly [string, string])[] };
const Choice = ({ label, value, options }: ChoiceProps) => (
  <select
    aria-label={label}
    value={value.value}
    onChange={event => {
      value.value = event.currentTarget.value;
    }}
  >
    {options.map(([option, text]) => (
      <option key={option} value={option}>
        {text}
      </option>
    ))}
  </select>
);
