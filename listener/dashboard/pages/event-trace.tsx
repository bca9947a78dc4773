import type { ComponentChildren } from "preact";
import type { Delivery, Queue, EventTrace as Trace } from "../core/answers.ts";
import { useFetched } from "../core/fetched.ts";
import { clock, dateAndTime, plural } from "../core/format.ts";
import { now } from "../core/live.ts";
import { application } from "../dapp/application.tsx";
import { Failure, Panel } from "../parts/panel.tsx";
import { Stages } from "../parts/stages.tsx";
import { Told } from "../parts/told.tsx";
import { Account, EventState, Pill, Transaction, Value } from "../parts/words.tsx";

/** The way of one event: transaction, log, deliveries, and what they changed. */
export function EventTrace({ id }: { id: string }) {
  const found = useFetched<Trace>(`events/${encodeURIComponent(id)}`, { every: 2_000 });
  const queues = useFetched<{ items: Queue[] }>("queues").value.data?.items ?? [];
  const { data: event, error } = found.value;
  if (!event) return error ? <Failure error={error} /> : <p class="muted">Reading…</p>;
  return (
    <>
      <header class="title">
        <h1>
          {event.contract}.{event.name}
        </h1>
        <EventState status={event.status} />
        <code class="muted">{event.id}</code>
      </header>
      <ol class="way">
        <Step name="Transaction">
          <Panel title="Transaction">
            <dl class="facts">
              <Fact name="Hash">
                <Transaction of={event.transactionHash} full />
              </Fact>
              <Fact name="Block">
                {event.block.number} <code class="muted">{event.block.hash}</code>
              </Fact>
              <Fact name="Time of the block">{dateAndTime(event.block.timestamp * 1_000)}</Fact>
            </dl>
          </Panel>
        </Step>
        <Step name="Log">
          <Log event={event} />
        </Step>
        <Step name="Deliveries">
          <Deliveries event={event} />
        </Step>
        <Step name="Webhooks">
          <Told messages={event.webhooks} />
        </Step>
        <Step name="Effects">
          <Effects event={event} queues={queues} />
        </Step>
      </ol>
    </>
  );
}

const Step = ({ name, children }: { name: string; children: ComponentChildren }) => (
  <li>
    <span class="sr-only">{name}</span>
    {children}
  </li>
);

const Fact = ({ name, children }: { name: string; children: ComponentChildren }) => (
  <div>
    <dt>{name}</dt>
    <dd>{children}</dd>
  </div>
);

function Log({ event }: { event: Trace }) {
  return (
    <Panel title="Log" hint={`number ${event.logIndex} of its block, seen at ${clock(event.seenAt)}`}>
      <dl class="facts">
        <Fact name="Contract">
          {event.contract} <Account of={event.address} full />
        </Fact>
        {event.arguments === null ? (
          <Fact name="Not decoded">{event.error}</Fact>
        ) : (
          Object.entries(event.arguments).map(([name, value]) => (
            <Fact key={name} name={name}>
              {application.write(event, name, value) ?? <Value of={value} full />}
            </Fact>
          ))
        )}
      </dl>
      <details>
        <summary>Raw topics and data</summary>
        <pre>{[...event.topics, event.data].join("\n")}</pre>
      </details>
    </Panel>
  );
}

function Deliveries({ event }: { event: Trace }) {
  const { deliveries, pruned } = event;
  const ends = deliveries.map(({ doneAt }) => (doneAt === null ? now.value : Date.parse(doneAt)));
  return (
    <Panel title="Deliveries" hint={deliveries.length > 0 ? plural(deliveries.length, "delivery", "deliveries") : undefined}>
      {pruned.length > 0 && <p class="muted">Done long ago, and no longer kept: {pruned.join(", ")}.</p>}
      {deliveries.length === 0 ? (
        pruned.length === 0 && <p class="muted">No queue follows this event, or it waits for its block to be final.</p>
      ) : (
        <Stages deliveries={deliveries} since={Date.parse(event.seenAt)} until={Math.max(...ends)} />
      )}
    </Panel>
  );
}

function Effects({ event, queues }: { event: Trace; queues: readonly Queue[] }) {
  const settled = effectsOf(event);
  const changed = settled.some(({ applied }) => applied) ? application.changed(event) : [];
  return (
    <Panel title="Rows and effects">
      {settled.length === 0 ? (
        <p class="muted">None yet.</p>
      ) : (
        <ul class="effects">
          {settled.map(({ queue, applied, word, tone }) => (
            <li key={queue}>
              <Pill tone={tone}>{word}</Pill> {kindOf(queues, queue)} <b>{queues.find(({ name }) => name === queue)?.handler ?? queue}</b>
              {!applied && word === "taken back" && <span class="muted"> as if it had never been</span>}
            </li>
          ))}
        </ul>
      )}
      {changed.length > 0 && (
        <p class="shows">
          It shows at{" "}
          {changed.map(({ name, href }, i) => (
            <span key={href}>
              {i > 0 && ", "}
              <a href={href}>{name}</a>
            </span>
          ))}
          .
        </p>
      )}
    </Panel>
  );
}

const kindOf = (queues: readonly Queue[], name: string) =>
  queues.find(queue => queue.name === name)?.kind === "task" ? "task" : "projection";

/** What stands of an event in each queue, out of all its deliveries there, the latest last. */
function effectsOf({ deliveries, pruned }: Trace) {
  const latest = new Map<string, Delivery>();
  for (const one of deliveries) latest.set(one.queue, one);
  const gone = pruned.filter(queue => !latest.has(queue)).map(queue => ({ queue, applied: true, word: "done", tone: "good" as const }));
  const kept = [...latest].map(([queue, { operation, state }]) => {
    if (state === "dead") return { queue, applied: false, word: "given up", tone: "bad" as const };
    if (state !== "done") return { queue, applied: false, word: "under way", tone: "busy" as const };
    if (operation === "revert") return { queue, applied: false, word: "taken back", tone: "gone" as const };
    return { queue, applied: true, word: operation === "run" ? "run" : "applied", tone: "good" as const };
  });
  return [...gone, ...kept];
}
