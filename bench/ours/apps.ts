import { type App, defineApp, type Task } from "../../listener/app.ts";
import { contracts } from "../../listener/dapp/contracts.ts";
import { balances } from "../../listener/dapp/projections/balances.ts";
import { transfers } from "../../listener/dapp/projections/transfers.ts";

const nothing: Task = { name: "nothing", async run() {} };

const events = ["SluiceToken.Transfer"] as const;

/** What each contender of ours does with the Transfers. The projections are the application's own. */
export const apps: Record<string, App> = {
  journal: defineApp({ contracts, routes: [] }),
  batched: defineApp({
    contracts,
    routes: [
      { queue: "balances", projection: balances, events, batch: 1_000 },
      { queue: "transfers", projection: transfers, events, batch: 1_000 },
    ],
  }),
  single: defineApp({
    contracts,
    routes: [
      { queue: "balances", projection: balances, events, concurrency: 8 },
      { queue: "transfers", projection: transfers, events, concurrency: 8 },
    ],
  }),
  nothing: defineApp({ contracts, routes: [{ queue: "nothing", task: nothing, events, concurrency: 300 }] }),
};
