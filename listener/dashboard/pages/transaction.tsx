import type { EventView } from "../core/answers.ts";
import { More, usePages } from "../parts/more.tsx";
import { Empty, Failure, Panel } from "../parts/panel.tsx";
import { EventTable } from "./events.tsx";

/** `#/transactions/HASH`: every event of a transaction, in each block that held it. */
export function Transaction({ rest: [hash = ""] }: { rest: string[] }) {
  const { pages, more } = usePages<EventView>(`events?limit=50&transaction=${encodeURIComponent(hash)}`, { every: 4_000 });
  return (
    <>
      <header class="title">
        <h1>Transaction</h1>
        <code class="muted">{hash}</code>
      </header>
      <Panel title="What it emitted" flush hint="A transaction that a reorg moved is listed in each block that held it.">
        <Failure error={pages.error} />
        {pages.items.length === 0 && pages.read > 0 ? (
          <Empty>None of the contracts that are followed said anything in this transaction.</Empty>
        ) : (
          <EventTable events={pages.items} transaction={false} />
        )}
        <More pages={pages} more={more} />
      </Panel>
    </>
  );
}
