/** Simulates each seed that the parent sends, on the database that it was given, until it has no more. */
import { keepHashes } from "../support/known-hashes.ts";
import { connect, emptyTables } from "./database.ts";
import { simulate } from "./simulate.ts";

keepHashes();
const [url, steps] = process.argv.slice(2);
const db = connect(url!);
/** Seeds after which the rows of those before are removed. */
const CLEAN_EVERY = 20;
let done = 0;

process.on("message", (seed: number) => void work(seed));
process.on("disconnect", () => void db.end());

async function work(seed: number): Promise<void> {
  const simulated = await simulate({ db, chainId: seed + 1, seed, steps: Number(steps) });
  if (++done % CLEAN_EVERY === 0) await emptyTables(db);
  // The last of all: what is told may be the parent's last reason to stay.
  process.send!(simulated);
}
