import type { Queue } from "../core/answers.ts";
import { useFetched } from "../core/fetched.ts";
import { duration, plural, rate, whole } from "../core/format.ts";
import { linkTo } from "../core/location.ts";
import { Outcome } from "../parts/outcome.tsx";
import { Empty, Failure, Panel, Scroll } from "../parts/panel.tsx";
import { useRetry } from "../parts/retry.ts";
import { Pill } from "../parts/words.tsx";

function whenDelivered(finality: Queue["finality"]): string {
  if (finality === "latest") return "at the head";
  if (finality === "safe") return "when safe";
  return finality === "finalized" ? "when final" : `after ${plural(finality, "confirmation")}`;
}

/** `#/queues`: what each queue has to do, and what it could not. */
export function Queues() {
  const queues = useFetched<{ items: Queue[] }>("queues", { every: 1_500 });
  const { data, error } = queues.value;
  const retry = useRetry(queues.again);
  const waiting = data?.items.some(({ pending, inFlight, rate }) => pending + inFlight > 0 && rate === 0);
  return (
    <>
      <h1>Queues</h1>
      <Failure error={data ? undefined : error} />
      <Panel title="Routes and their queues" flush hint={<Outcome of={retry} />}>
        {data?.items.length === 0 && <Empty>This application has no routes: they are declared in listener/dapp/routes.ts.</Empty>}
        <Scroll name="Queues" class="cards">
          <table>
            <thead>
              <tr>
                <th scope="col">Queue</th>
                <th scope="col">Fed by</th>
                {["Waiting", "In flight", "Done", "Rate", "Oldest", "Failed"].map(name => (
                  <th key={name} scope="col" class="number">
                    {name}
                  </th>
                ))}
                <th scope="col">
                  <span class="sr-only">Retry</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {data?.items.map(queue => (
                <tr key={queue.name}>
                  <td class="lead">
                    <b>{queue.name}</b>
                    <span class="muted about">
                      {queue.handler === queue.name ? queue.kind : `${queue.kind} ${queue.handler}`}, {whenDelivered(queue.finality)}
                      {queue.ordered && ", in order"}
                      {queue.batch > 1 && `, up to ${queue.batch} at once`}
                    </span>
                  </td>
                  <td class="fed muted">{queue.events.map(event => event.replace(/^.*\./, "")).join(", ")}</td>
                  <td class="number" data-label="Waiting">
                    {whole(queue.pending)}
                  </td>
                  <td class="number" data-label="In flight">
                    {whole(queue.inFlight)}
                  </td>
                  <td class="number" data-label="Done">
                    {whole(queue.done)}
                  </td>
                  <td class="number" data-label="Rate">
                    {queue.rate === undefined ? "–" : `${rate(queue.rate)}/s`}
                  </td>
                  <td class="number" data-label="Oldest">
                    {queue.oldestAge == null ? "–" : duration(queue.oldestAge * 1_000)}
                  </td>
                  <td class="number" data-label="Failed">
                    {queue.failed > 0 ? (
                      <a href={linkTo("dead-letters", queue.name)}>
                        <Pill tone="bad">{whole(queue.failed)}</Pill>
                      </a>
                    ) : (
                      "0"
                    )}
                  </td>
                  <td class="act">
                    {queue.failed > 0 && (
                      <button type="button" disabled={retry.value.busy} onClick={() => retry.run({ queue: queue.name })}>
                        Retry all
                        <span class="sr-only">
                          {" "}
                          {plural(queue.failed, "dead letter")} of {queue.name}
                        </span>
                      </button>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
        {waiting && <Empty command="npm run work">Deliveries wait and none was settled in the last minute. Workers take them:</Empty>}
      </Panel>
    </>
  );
}
