import type { Delivery } from "../core/answers.ts";
import { clock, duration } from "../core/format.ts";
import { linkTo } from "../core/location.ts";
import { Pill, type Tone } from "./words.tsx";

const TONES: Record<Delivery["state"], Tone> = { pending: "plain", sent: "busy", done: "good", dead: "bad" };
const WORDS: Record<Delivery["state"], string> = { pending: "waiting", sent: "in flight", done: "done", dead: "dead letter" };

/** What became of an event in each queue: one line per delivery, with a bar of when it waited and when it was worked on. */
export function Stages({ deliveries, since, until }: { deliveries: readonly Delivery[]; since: number; until: number }) {
  const span = Math.max(1, until - since);
  const share = (from: number, to: number) => ({
    left: `${(100 * (from - since)) / span}%`,
    width: `${Math.max(0.6, (100 * (to - from)) / span)}%`,
  });
  return (
    <ul class="stages">
      {deliveries.map(one => {
        const [created, sent, done] = [one.createdAt, one.sentAt, one.doneAt].map(time => (time === null ? undefined : Date.parse(time)));
        const end = done ?? until;
        return (
          <li key={`${one.queue}-${one.position}`}>
            <div class="stage-head">
              <a class="event-name" href={linkTo("queues")}>
                {one.queue}
              </a>
              <span class="muted">{one.operation}</span>
              <Pill tone={TONES[one.state]}>{WORDS[one.state]}</Pill>
              <span class="muted">
                {one.attempts === 1 ? "1 attempt" : `${one.attempts} attempts`}
                {done !== undefined && `, ${duration(done - created!)}`}
              </span>
            </div>
            <div class="span" aria-hidden="true">
              <i class="waited" style={share(created!, sent ?? end)} />
              {sent !== undefined && <i class={`worked ${one.state}`} style={share(sent, end)} />}
            </div>
            <dl class="times">
              <Time name="made" at={created} />
              <Time name="sent" at={sent} after={created} />
              <Time name={one.state === "dead" ? "given up" : "done"} at={done} after={sent} />
            </dl>
            {one.lastError !== null && <p class={one.state === "dead" ? "failure" : "muted"}>{one.lastError}</p>}
          </li>
        );
      })}
    </ul>
  );
}

const Time = ({ name, at, after }: { name: string; at: number | undefined; after?: number | undefined }) => (
  <div>
    <dt>{name}</dt>
    <dd>
      {at === undefined ? "–" : clock(at)}
      {at !== undefined && after !== undefined && <span class="muted"> +{duration(at - after)}</span>}
    </dd>
  </div>
);
