import type { ComponentChildren } from "preact";
import type { EventView } from "../core/answers.ts";
import { abbreviate, age, argument, dateAndTime, isAddress, isHash } from "../core/format.ts";
import { now } from "../core/live.ts";
import { linkTo } from "../core/location.ts";
import { application } from "../dapp/application.tsx";

export type Tone = "plain" | "good" | "busy" | "warn" | "bad" | "gone";

/** A state in one word. The word carries the meaning, the colour only helps. */
export const Pill = ({ tone = "plain", children }: { tone?: Tone; children: ComponentChildren }) => (
  <span class={`pill ${tone}`}>{children}</span>
);

export const Account = ({ of, full = false }: { of: string; full?: boolean }) => (
  <a class="mono" href={linkTo("accounts", of)} title={of}>
    {full ? of : abbreviate(of)}
  </a>
);

export const Transaction = ({ of, full = false }: { of: string; full?: boolean }) => (
  <a class="mono" href={linkTo("transactions", of)} title={of}>
    {full ? of : abbreviate(of)}
  </a>
);

/** How long ago, counting on; the exact time on hover. */
export function Ago({ at }: { at: string | number }) {
  const time = new Date(at).getTime();
  return (
    <time dateTime={new Date(time).toISOString()} title={dateAndTime(time)}>
      {age(time, now.value)}
    </time>
  );
}

const TONES: Record<EventView["status"], Tone> = { included: "plain", finalized: "good", orphaned: "gone", undecodable: "bad" };
export const EventState = ({ status }: { status: EventView["status"] }) => (
  <Pill tone={TONES[status]}>{status === "orphaned" ? "taken back" : status}</Pill>
);

/** An event's arguments in one line: whatever the chain holds, as text. */
export function Arguments({ event }: { event: EventView }) {
  if (event.arguments === null) return <span class="muted">{event.error ?? "not decoded"}</span>;
  return (
    <span class="arguments">
      {Object.entries(event.arguments).map(([name, value]) => (
        <span key={name}>
          <span class="name">{name}</span> {application.write(event, name, value) ?? <Value of={value} />}
        </span>
      ))}
    </span>
  );
}

/** One value of an event. */
export function Value({ of, full = false }: { of: unknown; full?: boolean }) {
  if (isAddress(of)) return <Account of={of} full={full} />;
  const text = argument(of);
  return (
    <bdi class={isHash(of) || /^-?\d+$/.test(text) ? "mono value" : "value"} title={text}>
      {full ? text : abbreviate(text)}
    </bdi>
  );
}
