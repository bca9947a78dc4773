import { randomInt } from "node:crypto";
import type { App } from "../../listener/app.ts";
import type { ContractAt } from "../../listener/chain/events.ts";
import type { Db } from "../../listener/db.ts";
import { enterChain } from "../../listener/journal/chains.ts";
import { type JournalOptions, openJournal } from "../../listener/journal/journal.ts";
import { JOURNAL_MIGRATIONS } from "../../listener/journal/schema.ts";
import { openTestDatabase, type TestDatabase } from "./database.ts";
import { SCRIPTED_ADDRESS } from "./scripted-chain.ts";
import { stubRpc } from "./stub-rpc.ts";

/** Where the application's one contract is. */
export const contractsOf = (app: App): ContractAt[] => [
  { name: "Meter", decoders: app.contracts.get("Meter")!, address: SCRIPTED_ADDRESS },
];

/** A journal on a database of its own, for a chain that nobody else has. */
export async function openTestJournal(app: App) {
  const base: TestDatabase = await openTestDatabase([...JOURNAL_MIGRATIONS, ...app.migrations]);
  const chainId = randomInt(1_000, 2 ** 40);
  const { db } = base;
  const identity = { chainId, genesis: "0x00", instance: undefined, development: true };
  await enterChain(db, stubRpc({}), identity, { chainId, contracts: { Meter: { address: SCRIPTED_ADDRESS, block: 1 } } });
  /** Another writer, with this epoch, and beside this relay. */
  const writer = (epoch: number, relay?: JournalOptions["relay"]) =>
    openJournal({ db, chainId, epoch, app, contracts: contractsOf(app), ...(relay ? { relay } : {}) });
  /** A writer of another application on the same tables. */
  const writerOf = (other: App) => openJournal({ db, chainId, epoch: 0, app: other, contracts: contractsOf(other) });
  return { ...base, chainId, journal: writer(0), writer, writerOf };
}

/** The rows of a query on one chain, `$1`. */
export async function rowsOf<R = Record<string, unknown>>(db: Db, chainId: number, query: string): Promise<R[]> {
  const { rows } = await db.query(query, [chainId]);
  return rows as R[];
}
