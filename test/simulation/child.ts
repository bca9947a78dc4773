/** Simulates each seed that the parent sends, on the database that it names, until it has no more. */
import { openDb } from "../../listener/db.ts";
import { simulate } from "./simulate.ts";

const [url, steps] = process.argv.slice(2);
const db = openDb(url!, { name: "sluice-simulation" });
/** Seeds after which what is done with is removed: nothing may grow slower because of those before. */
const CLEAN_EVERY = 10;
const done: number[] = [];

process.on("message", (seed: number) => void work(seed));
process.on("disconnect", () => void db.end());

async function work(seed: number): Promise<void> {
  const chainId = seed + 1;
  const simulated = await simulate({ db, chainId, seed, steps: Number(steps) });
  done.push(chainId);
  if (done.length === CLEAN_EVERY) await clean(done.splice(0));
  // The last of all: what is told may be the parent's last reason to stay.
  process.send!(simulated);
}

async function clean(finished: readonly number[]): Promise<void> {
  const { rows } = await db.query<{ name: string }>(
    "select table_name as name from information_schema.columns where table_schema = 'sluice' and column_name = 'chain_id'",
  );
  for (const { name } of rows) await db.query(`delete from ${name} where chain_id = any($1)`, [finished]);
}
