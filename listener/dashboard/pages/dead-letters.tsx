import type { DeadLetter } from "../core/answers.ts";
import { query } from "../core/api.ts";
import { plural } from "../core/format.ts";
import { status } from "../core/live.ts";
import { linkTo } from "../core/location.ts";
import { More, usePages } from "../parts/more.tsx";
import { Outcome } from "../parts/outcome.tsx";
import { Empty, Failure, Panel } from "../parts/panel.tsx";
import { useRetry } from "../parts/retry.ts";
import { Ago } from "../parts/words.tsx";

/** `#/dead-letters`, `#/dead-letters/QUEUE`: what was given up, why, and how to try it again. */
export function DeadLetters({ rest: [queue] }: { rest: string[] }) {
  const { pages, more, again } = usePages<DeadLetter>(`dead-letters${query({ limit: 50, queue })}`, { every: 3_000 });
  const retry = useRetry(again);
  const failed = Object.entries(status.value?.queues ?? {}).filter(([, counts]) => counts.failed > 0);
  return (
    <>
      <h1>Dead letters</h1>
      <Panel
        title={queue === undefined ? "Given up" : `Given up in ${queue}`}
        flush
        hint={<Outcome of={retry} />}
        actions={
          <>
            {queue !== undefined && (
              <a class="button" href={linkTo("dead-letters")}>
                All queues
              </a>
            )}
            {pages.items.length > 0 && (
              <button type="button" disabled={retry.value.busy} onClick={() => retry.run(queue === undefined ? { all: true } : { queue })}>
                Retry all
              </button>
            )}
          </>
        }
      >
        <Failure error={pages.error} />
        {queue === undefined && failed.length > 1 && (
          <p class="chips">
            {failed.map(([name, counts]) => (
              <a key={name} class="pill bad" href={linkTo("dead-letters", name)}>
                {name} {counts.failed}
              </a>
            ))}
          </p>
        )}
        {pages.items.length === 0 && pages.read > 0 && (
          <Empty command="npm run audit">Nothing was given up. Whether everything is right as well is what the audit says.</Empty>
        )}
        <ul class="letters">
          {pages.items.map(letter => (
            <li key={`${letter.queue}-${letter.position}`}>
              <div class="stage-head">
                <b>{letter.queue}</b>
                <span class="muted">
                  {letter.operation}, {plural(letter.attempts, "attempt")}, given up <Ago at={letter.at} /> ago
                </span>
                <button
                  type="button"
                  disabled={retry.value.busy}
                  onClick={() => retry.run({ queue: letter.queue, position: letter.position })}
                >
                  Retry
                  <span class="sr-only">
                    {" "}
                    number {letter.position} of {letter.queue}
                  </span>
                </button>
              </div>
              <p class="failure">{letter.lastError ?? "without a reason"}</p>
              <p class="chips">
                {letter.events.slice(0, 12).map(id => (
                  <a key={id} class="mono" href={linkTo("events", id)}>
                    {id.replace(/(0x.{6}).*(.{4}-\d+)$/, "$1…$2")}
                  </a>
                ))}
                {letter.events.length > 12 && <span class="muted">and {letter.events.length - 12} more</span>}
              </p>
            </li>
          ))}
        </ul>
        <More pages={pages} more={more} />
      </Panel>
    </>
  );
}
