import type { ToldWebhook } from "../core/answers.ts";
import { clock, duration, plural } from "../core/format.ts";
import { linkTo } from "../core/location.ts";
import { Panel } from "./panel.tsx";
import { Pill, type Tone } from "./words.tsx";

const TONES: Record<ToldWebhook["state"], Tone> = { pending: "busy", done: "good", dead: "bad" };
const WORDS: Record<ToldWebhook["state"], string> = { pending: "waiting", done: "delivered", dead: "dead letter" };

/** Which endpoints were told of an event, what they answered and when. */
export const Told = ({ messages }: { messages: readonly ToldWebhook[] }) => (
  <Panel title="Webhooks" hint={messages.length > 0 ? plural(messages.length, "message") : undefined}>
    {messages.length === 0 ? (
      <p class="muted">No endpoint was told of this event.</p>
    ) : (
      <ul class="stages">
        {messages.map(message => (
          <Line key={`${message.endpoint}-${message.sequence}`} message={message} />
        ))}
      </ul>
    )}
  </Panel>
);

function Line({ message }: { message: ToldWebhook }) {
  const { endpoint, url, operation, state, attempts, nextAt, status, error, createdAt, doneAt } = message;
  const answered = status === null ? "no answer" : `answered ${status}`;
  return (
    <li>
      <div class="stage-head">
        <a class="event-name wrap" href={linkTo("webhooks", endpoint)}>
          {url}
        </a>
        <span class="muted">{operation}</span>
        <Pill tone={TONES[state]}>{WORDS[state]}</Pill>
        <span class="muted">
          {plural(attempts, "attempt")}
          {attempts > 0 && `, ${answered}`}
        </span>
      </div>
      <dl class="times">
        <Time name="made" at={createdAt} />
        {state === "pending" && attempts > 0 && <Time name="next attempt" at={nextAt} />}
        <Time name={state === "dead" ? "given up" : "delivered"} at={doneAt} after={createdAt} />
      </dl>
      {error !== null && state !== "done" && <p class={state === "dead" ? "failure" : "muted"}>{error}</p>}
    </li>
  );
}

const Time = ({ name, at, after }: { name: string; at: string | null; after?: string }) => (
  <div>
    <dt>{name}</dt>
    <dd>
      {at === null ? "–" : clock(at)}
      {at !== null && after !== undefined && <span class="muted"> +{duration(Date.parse(at) - Date.parse(after))}</span>}
    </dd>
  </div>
);
