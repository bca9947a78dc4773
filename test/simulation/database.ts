import { type Db, type Migration, openDb } from "../../listener/db.ts";
import { JOURNAL_MIGRATIONS } from "../../listener/journal/schema.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";
import { nameStatements } from "./named-statements.ts";
import { openSimulationServer } from "./server.ts";
import { app } from "./sim-app.ts";

const MIGRATIONS = [...JOURNAL_MIGRATIONS, ...app.migrations];

/** A database for simulations on a server of its own, which is fast where nobody needs it to be more. */
export async function openSimulationDatabase(migrations: readonly Migration[] = MIGRATIONS): Promise<TestDatabase> {
  const base = await openTestDatabase(migrations, openSimulationServer);
  await base.db.end();
  const db = connect(base.url);
  const close = async () => {
    await db.end();
    await base.close();
  };
  return { db, url: base.url, close, [Symbol.asyncDispose]: close };
}

/** Connections to a database for simulations. */
export function connect(url: string): Db {
  const db = openDb(url, { name: "sluice-simulation" });
  // What a connection prepared would go with it.
  db.options.idleTimeoutMillis = 0;
  db.on("connect", nameStatements);
  return db;
}

/** Removes every row of ours: nothing may grow slower because of what was simulated before. */
export async function emptyTables(db: Db): Promise<void> {
  const { rows } = await db.query<{ name: string }>(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables
     where schemaname in ('sluice', 'sluice_audit') and tablename <> 'migrations'`,
  );
  await db.query(`truncate ${rows.map(({ name }) => name).join(", ")}`);
}
