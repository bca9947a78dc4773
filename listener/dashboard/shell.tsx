import type { ComponentChildren } from "preact";
import { whole } from "./core/format.ts";
import { now, SILENCE, silentFor, stale, status } from "./core/live.ts";
import { linkTo, path } from "./core/location.ts";
import { nextTheme, theme } from "./core/theme.ts";

const PLACES = [
  ["", "Overview"],
  ["events", "Events"],
  ["accounts", "Accounts"],
  ["queues", "Queues"],
  ["dead-letters", "Dead letters"],
  ["webhooks", "Webhooks"],
] as const;

/** What stands around every page: where we are, where one can go, and how the chain stands. */
export function Shell({ children }: { children: ComponentChildren }) {
  const here = path.value[0] ?? "";
  const dead = status.value?.deadLetters ?? 0;
  return (
    <>
      <button type="button" class="skip" onClick={skip}>
        Skip to the content
      </button>
      <header class="masthead">
        <a class="brand" href={linkTo()} aria-label="Sluice, overview">
          <Mark />
          <span>Sluice</span>
        </a>
        <nav aria-label="Pages">
          {PLACES.map(([place, title]) => (
            <a key={place} href={linkTo(...(place ? [place] : []))} aria-current={isAt(here, place) ? "page" : undefined}>
              {title}
              {place === "dead-letters" && dead > 0 && <span class="badge">{dead}</span>}
            </a>
          ))}
        </nav>
        <div class="tools">
          <a href="docs/">API</a>
          <button type="button" class="quiet" onClick={nextTheme} aria-label={`Colours: ${theme.value}. Change`}>
            {theme.value === "auto" ? "Auto" : theme.value === "light" ? "Light" : "Dark"}
          </button>
        </div>
      </header>
      <StatusBar />
      {stale.value && (
        <p class="banner" role="alert">
          Stale: nothing was heard of the API for {Math.floor(silentFor.value / 1_000)} s. What stands below may no longer be true.
        </p>
      )}
      <main id="content" tabIndex={-1}>
        {children}
      </main>
    </>
  );
}

const isAt = (here: string, place: string) => (here === "transactions" ? "events" : here) === place;

function skip() {
  document.getElementById("content")?.focus();
}

const Mark = () => (
  <svg viewBox="0 0 32 32" width="22" height="22" aria-hidden="true">
    <rect width="32" height="32" rx="7" fill="#0d5c75" />
    <path d="M7 8h3v16H7zM22 8h3v16h-3z" fill="#fff" />
    <path d="M11.5 8h9v7h-9z" fill="#7fd3e6" />
    <path d="M11.5 19.5c1.5-1.6 3-1.6 4.5 0s3 1.6 4.5 0V24h-9z" fill="#fff" />
  </svg>
);

const BACKENDS = { redis: "Redis", postgres: "Postgres" } as const;

function StatusBar() {
  const it = status.value;
  const silent = it?.headAt ? now.value - new Date(it.headAt).getTime() : undefined;
  const lagging = (it?.lag ?? 0) > 3;
  const node = silent !== undefined && silent > 6 * SILENCE ? "bad" : lagging ? "warn" : undefined;
  return (
    <section aria-label="Where we stand">
      <dl class="status-bar">
        <Item name="Chain" value={it ? String(it.chainId) : "–"} />
        <Item name="Head" value={whole(it?.head)} tone={node} />
        <Item name="Tip" value={whole(it?.tip?.number)} />
        <Item name="Lag" value={whole(it?.lag)} tone={lagging ? "warn" : undefined} />
        <Item name="Finalized" value={whole(it?.finalized?.number)} />
        <Item name="Audited to" value={whole(it?.auditedTo)} />
        <Item name="Reorgs" value={whole(it?.reorgs)} />
        <Item name="Queues" value={it ? BACKENDS[it.queueBackend] : "–"} />
        <Item name="Leader" value={it ? (it.leader ?? "none") : "–"} tone={it && it.leader === null ? "bad" : undefined} />
      </dl>
    </section>
  );
}

const Item = ({ name, value, tone }: { name: string; value: string; tone?: "warn" | "bad" | undefined }) => (
  <div class={tone}>
    <dt>{name}</dt>
    <dd title={value}>{value}</dd>
  </div>
);
