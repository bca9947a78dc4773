import { useSignal } from "@preact/signals";
import { useAction } from "../core/action.ts";
import type { Attempt, Endpoint } from "../core/answers.ts";
import { send } from "../core/api.ts";
import { useFetched } from "../core/fetched.ts";
import { dateAndTime, duration, plural, visible, whole } from "../core/format.ts";
import { linkTo } from "../core/location.ts";
import { More, usePages } from "../parts/more.tsx";
import { Outcome } from "../parts/outcome.tsx";
import { Empty, Failure, Panel } from "../parts/panel.tsx";
import { Secret } from "../parts/secret.tsx";
import { Tile } from "../parts/tile.tsx";
import { Ago, Pill } from "../parts/words.tsx";
import { Answer, EndpointState } from "./webhooks.tsx";

type Deed = { method?: "POST" | "DELETE"; path: string; body?: Record<string, unknown>; tell(answer: never): string };

/** One endpoint: how it stands, what it answered, and what can be done about it. */
export function EndpointPage({ id }: { id: string }) {
  const at = `webhooks/${encodeURIComponent(id)}`;
  const found = useFetched<Endpoint>(at, { every: 2_000 });
  const { pages, more, again } = usePages<Attempt>(`${at}/attempts?limit=30`, { every: 2_000 });
  const secret = useSignal<string | undefined>(undefined);
  const fromBlock = useSignal("");
  const act = useAction(async ({ method = "POST", path, body, tell }: Deed) => {
    const said = tell((await send(method, `${at}${path}`, body)) as never);
    found.again();
    again();
    return said;
  });
  const { data: endpoint, error } = found.value;
  if (!endpoint) return error ? <Failure error={error} /> : <p class="muted">Reading…</p>;

  const { counts, breaker } = endpoint;
  const told = ({ messages }: { messages: number }) => `${plural(messages, "message")} will be sent again.`;
  const button = (text: string, deed: Deed, more: { disabled?: boolean; class?: string } = {}) => (
    <button type="button" {...more} disabled={act.value.busy || more.disabled} onClick={() => act.run(deed)}>
      {text}
    </button>
  );
  return (
    <>
      <header class="title">
        <h1>{endpoint.description || "Endpoint"}</h1>
        <EndpointState endpoint={endpoint} />
        <code class="muted">{endpoint.url}</code>
      </header>
      {endpoint.reason !== null && <p class="failure">{endpoint.reason}</p>}
      <dl class="tiles">
        <Tile name="Delivered" value={whole(counts.delivered)} />
        <Tile name="Waiting" value={whole(counts.pending)} />
        <Tile name="Failed attempts" value={whole(counts.failed)} />
        <Tile name="Dead letters" value={whole(counts.dead)} />
        <Tile name="Breaker">
          <Pill tone={breaker.state === "open" ? "bad" : "good"}>{breaker.state}</Pill>
          {breaker.failures > 0 && <span class="unit">{plural(breaker.failures, "failure")} in a row</span>}
        </Tile>
      </dl>
      <Panel title="Operate" hint={<Outcome of={act} />}>
        <div class="demo">
          {button("Send test", { path: "/test", tell: () => "A message of type test is on its way." })}
          {endpoint.state === "active"
            ? button("Pause", { path: "/pause", tell: () => "Paused: nothing is sent, and nothing is missed." })
            : button("Resume", { path: "/resume", tell: () => "It goes on with everything that waits." })}
          {button("Rotate secret", {
            path: "/rotate",
            body: {},
            tell(answer: { secret: string }) {
              secret.value = answer.secret;
              return "The old secret signs beside the new one for a day.";
            },
          })}
          {counts.dead > 0 && button("Retry dead letters", { path: "/replay", body: { dead: true }, tell: told })}
          <i class="gap" />
          <input
            type="search"
            inputMode="numeric"
            class="block-number"
            aria-label="Replay from block"
            placeholder="From block"
            value={fromBlock}
            onInput={event => {
              fromBlock.value = event.currentTarget.value.trim();
            }}
          />
          {button(
            "Replay",
            { path: "/replay", body: { fromBlock: Number(fromBlock.value) }, tell: told },
            { disabled: !/^\d{1,15}$/.test(fromBlock.value) },
          )}
        </div>
        <Secret of={secret.value} />
      </Panel>
      <Panel title="Settings">
        <dl class="facts">
          <div>
            <dt>Events</dt>
            <dd>{endpoint.events.length === 0 ? "every event" : endpoint.events.join(", ")}</dd>
          </div>
          <div>
            <dt>When</dt>
            <dd>
              {typeof endpoint.finality === "number" ? `after ${endpoint.finality} confirmations` : endpoint.finality}
              {endpoint.ordered && ", in order per account"}
            </dd>
          </div>
          {Object.keys(endpoint.filter).length > 0 && (
            <div>
              <dt>Only where</dt>
              <dd>
                <code>{visible(JSON.stringify(endpoint.filter))}</code>
              </dd>
            </div>
          )}
          <div>
            <dt>Requests</dt>
            <dd>
              up to {plural(endpoint.batch, "event")} each, {endpoint.concurrency} at a time, {duration(endpoint.timeout)} to answer
            </dd>
          </div>
          <div>
            <dt>Secrets</dt>
            <dd>
              {endpoint.secrets.map(({ createdAt, until }) => (
                <span key={createdAt} class="secret-age">
                  since {dateAndTime(createdAt)}
                  {until !== null && `, until ${dateAndTime(until)}`}
                </span>
              ))}
            </dd>
          </div>
        </dl>
      </Panel>
      <Panel title="Last answers" flush>
        <Failure error={pages.error} />
        {pages.items.length === 0 && pages.read > 0 && <Empty>Nothing was sent yet. “Send test” does so now.</Empty>}
        <ul class="letters">
          {pages.items.map(attempt => (
            <li key={attempt.number}>
              <div class="stage-head">
                <Answer of={attempt} />
                <span class="muted">
                  message {attempt.sequence}, attempt {attempt.attempt}, <Ago at={attempt.at} /> ago
                </span>
              </div>
              {attempt.answer && <pre>{visible(attempt.answer)}</pre>}
            </li>
          ))}
        </ul>
        <More pages={pages} more={more} />
      </Panel>
      <p>
        <a href={linkTo("webhooks")}>All endpoints</a>
      </p>
    </>
  );
}
