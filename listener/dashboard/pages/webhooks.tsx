import { useSignal } from "@preact/signals";
import { useAction } from "../core/action.ts";
import type { Endpoint, Queue } from "../core/answers.ts";
import { send } from "../core/api.ts";
import { useFetched } from "../core/fetched.ts";
import { whole } from "../core/format.ts";
import { linkTo } from "../core/location.ts";
import { Outcome } from "../parts/outcome.tsx";
import { Empty, Failure, Panel, Scroll } from "../parts/panel.tsx";
import { Secret } from "../parts/secret.tsx";
import { Ago, Pill } from "../parts/words.tsx";
import { EndpointPage } from "./endpoint.tsx";

/** `#/webhooks`: who is told. `#/webhooks/ID`: one endpoint. */
export const Webhooks = ({ rest: [id] }: { rest: string[] }) => (id === undefined ? <Endpoints /> : <EndpointPage key={id} id={id} />);

export function EndpointState({ endpoint: { state, breaker } }: { endpoint: Endpoint }) {
  if (state !== "active") return <Pill tone={state === "disabled" ? "bad" : "warn"}>{state}</Pill>;
  return breaker.state === "open" ? <Pill tone="bad">breaker open</Pill> : <Pill tone="good">active</Pill>;
}

/** `200 in 12 ms`, or why there was no answer. */
export function Answer({ of }: { of: Endpoint["lastAttempt"] }) {
  if (!of) return <span class="muted">nothing sent yet</span>;
  const good = of.status !== null && of.status >= 200 && of.status < 300;
  return (
    <>
      <Pill tone={good ? "good" : "bad"}>{of.status ?? "no answer"}</Pill>{" "}
      <span class="muted">{of.error ?? `${whole(of.duration)} ms`}</span>
    </>
  );
}

function Endpoints() {
  const found = useFetched<{ items: Endpoint[] }>("webhooks", { every: 2_000 });
  const { data, error } = found.value;
  return (
    <>
      <h1>Webhooks</h1>
      <Failure error={data ? undefined : error} />
      <Panel title="Endpoints" flush>
        {data?.items.length === 0 ? (
          <Empty>Nobody is told of events yet. An endpoint is a URL that they are posted to, signed and in time.</Empty>
        ) : (
          <Scroll name="Endpoints" class="cards">
            <table>
              <thead>
                <tr>
                  <th scope="col">Endpoint</th>
                  <th scope="col">State</th>
                  <th scope="col">Last answer</th>
                  {["Waiting", "Delivered", "Dead", "Oldest"].map(name => (
                    <th key={name} scope="col" class="number">
                      {name}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {data?.items.map(endpoint => (
                  <Row key={endpoint.id} endpoint={endpoint} />
                ))}
              </tbody>
            </table>
          </Scroll>
        )}
      </Panel>
      <NewEndpoint then={found.again} />
    </>
  );
}

function Row({ endpoint }: { endpoint: Endpoint }) {
  const { id, url, description, events, finality, counts, lastAttempt, oldestPending } = endpoint;
  return (
    <tr>
      <td class="lead">
        <a class="event-name wrap" href={linkTo("webhooks", id)}>
          {description || url}
        </a>
        <span class="muted about wrap">
          {description && `${url}, `}
          {events.length === 0 ? "every event" : events.map(event => event.replace(/^.*\./, "")).join(", ")},{" "}
          {typeof finality === "number" ? `${finality} confirmations` : finality}
        </span>
      </td>
      <td data-label="State">
        <EndpointState endpoint={endpoint} />
      </td>
      <td data-label="Last answer" class="answer">
        <Answer of={lastAttempt} />
      </td>
      <td class="number" data-label="Waiting">
        {whole(counts.pending)}
      </td>
      <td class="number" data-label="Delivered">
        {whole(counts.delivered)}
      </td>
      <td class="number" data-label="Dead">
        {counts.dead > 0 ? <Pill tone="bad">{whole(counts.dead)}</Pill> : "0"}
      </td>
      <td class="number" data-label="Oldest">
        {oldestPending === null ? "–" : <Ago at={oldestPending} />}
      </td>
    </tr>
  );
}

/** What most endpoints need. The rest (filters, batches, headers) is set over the API. */
function NewEndpoint({ then }: { then: () => void }) {
  const queues = useFetched<{ items: Queue[] }>("queues").value.data?.items ?? [];
  const names = [...new Set(queues.flatMap(({ events }) => events))].sort();
  const [url, event, finality] = [useSignal(""), useSignal(""), useSignal("finalized")];
  const secret = useSignal<string | undefined>(undefined);
  const create = useAction(async () => {
    const body = { url: url.value.trim(), finality: finality.value, ...(event.value ? { events: [event.value] } : {}) };
    const made = await send<Endpoint & { secret: string }>("POST", "webhooks", body);
    [url.value, secret.value] = ["", made.secret];
    then();
    return "Created.";
  });
  return (
    <Panel title="New endpoint" hint={<Outcome of={create} />}>
      <form
        class="new-endpoint"
        onSubmit={submitted => {
          submitted.preventDefault();
          create.run();
        }}
      >
        <label class="grow">
          URL
          <input
            type="url"
            required
            placeholder="https://"
            value={url}
            onInput={typed => {
              url.value = typed.currentTarget.value;
            }}
          />
        </label>
        <label>
          Events
          <select
            value={event}
            onChange={chosen => {
              event.value = chosen.currentTarget.value;
            }}
          >
            <option value="">every event</option>
            {names.map(name => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <label>
          When
          <select
            value={finality}
            onChange={chosen => {
              finality.value = chosen.currentTarget.value;
            }}
          >
            <option value="finalized">finalized</option>
            <option value="safe">safe</option>
            <option value="latest">at once, with reverts</option>
          </select>
        </label>
        <button type="submit" class="primary" disabled={create.value.busy}>
          Create
        </button>
      </form>
      <Secret of={secret.value} />
    </Panel>
  );
}
