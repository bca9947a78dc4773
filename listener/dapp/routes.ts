import { type App, defineApp } from "../app.ts";
import { auditBalances, auditPauses, auditRoles, auditSequences } from "./audits.ts";
import { contracts, route } from "./contracts.ts";
import { accounts } from "./projections/accounts.ts";
import { balances } from "./projections/balances.ts";
import { mining } from "./projections/mining.ts";
import { statistics } from "./projections/statistics.ts";
import { transfers } from "./projections/transfers.ts";

/** The system on one screen: which events feed which queue, and what the queue's workers do with them. */
export const app: App = defineApp({
  contracts,
  audits: [auditBalances, auditPauses, auditSequences, auditRoles],
  routes: [
    route({ queue: "accounts", events: ["SluiceToken.Registered"], projection: accounts, batch: 200 }),
    route({ queue: "balances", events: ["SluiceToken.Transfer"], projection: balances, batch: 1_000 }),
    route({ queue: "transfers", events: ["SluiceToken.Transfer"], projection: transfers, batch: 1_000 }),
    route({ queue: "mining", events: ["SluiceToken.Mined", "SluiceToken.Retargeted"], projection: mining, batch: 200 }),
    route({
      queue: "statistics",
      events: [
        "SluiceToken.Transfer",
        "SluiceToken.Registered",
        "SluiceToken.Minted",
        "SluiceToken.Mined",
        "SluiceToken.TransferWithMemo",
        "SluiceToken.Paused",
        "SluiceToken.Unpaused",
      ],
      projection: statistics,
      batch: 200,
      // Every batch adds to the same few rows: side by side they would only wait for each other.
      concurrency: 1,
    }),
  ],
});
