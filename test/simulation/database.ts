import { createHash } from "node:crypto";
import type { ClientBase } from "pg";
import { type Db, openDb } from "../../listener/db.ts";
import { JOURNAL_MIGRATIONS } from "../../listener/journal/schema.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";
import { app } from "./sim-app.ts";

/**
 * A database for simulations, which is fast where nobody needs it to be more: their rows may be gone after a power cut, and
 * of a thousand statements each is planned once.
 */
export async function openSimulationDatabase(): Promise<TestDatabase> {
  const base = await openTestDatabase([...JOURNAL_MIGRATIONS, ...app.migrations]);
  const name = new URL(base.url).pathname.slice(1);
  for (const setting of ["synchronous_commit = off", "plan_cache_mode = force_generic_plan"])
    await base.db.query(`alter database ${name} set ${setting}`);
  // Connections that are open already do not know of that.
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
  db.on("connect", nameStatements);
  return db;
}

/** Removes every row of ours: nothing may grow slower because of what was simulated before. */
export async function emptyTables(db: Db): Promise<void> {
  const { rows } = await db.query<{ name: string }>(
    "select quote_ident(tablename) as name from pg_tables where schemaname = 'sluice' and tablename <> 'migrations'",
  );
  await db.query(`truncate ${rows.map(({ name }) => name).join(", ")}`);
}

const names = new Map<string, string>();
const nameOf = (text: string): string => {
  let name = names.get(text);
  if (!name) names.set(text, (name = createHash("sha1").update(text).digest("base64url")));
  return name;
};

/** Makes this connection prepare each statement that has parameters, once. */
function nameStatements(client: ClientBase): void {
  const query = client.query.bind(client) as (...given: unknown[]) => unknown;
  let hidden = false;
  client.query = ((...given: unknown[]) => {
    const [text, values, ...rest] = given;
    if (typeof text !== "string") return query(...given);
    // A statement that was prepared before goes on meaning the table that a temporary one hides until the transaction's end.
    if (text.startsWith("create temporary table")) hidden = true;
    if (text === "commit" || text === "rollback") hidden = false;
    if (hidden || !Array.isArray(values)) return query(...given);
    return query({ name: nameOf(text), text, values }, ...rest);
  }) as typeof client.query;
}
