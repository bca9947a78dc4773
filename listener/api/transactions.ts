import { z } from "zod";
import type { App } from "../app.ts";
import { LISTED_COLUMNS, type ListedEvent } from "../journal/events.ts";
import { eventsOfTransaction } from "../journal/runs.ts";
import { event, readFinalized, showEvent } from "./event.ts";
import { MAX_LIMIT } from "./page.ts";
import { read } from "./read.ts";
import { hash } from "./schemas.ts";

/** Where a trace begins: a transaction, whose events have a trace each. */
export const transactionRead = (app: App) =>
  read({
    path: "transactions/:hash",
    tag: "events",
    summary: "A transaction's events",
    description: "In the order of the journal. A transaction that a reorg moved to another block has its events once more, as `orphaned`.",
    params: z.object({ hash }),
    response: z.object({
      hash,
      events: z.array(event).describe(`${MAX_LIMIT} at most; all of them are in events?transaction={hash}`),
    }),
    async handle({ sql, chainId, params }) {
      const { rows } = await sql.query<ListedEvent>(
        `select ${LISTED_COLUMNS} from ${eventsOfTransaction("$1", "$2")} e order by position limit $3`,
        [chainId, params.hash, MAX_LIMIT],
      );
      if (rows.length === 0) return undefined;
      const finalized = await readFinalized(sql, chainId);
      return { hash: params.hash, events: rows.map(row => showEvent(app, row, finalized)) };
    },
  });
