import { randomBytes } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { type Db, type Migration, migrate, openDb } from "../../listener/db.ts";
import { openPostgres } from "../../listener/embedded/postgres.ts";
import { JOURNAL_MIGRATIONS } from "../../listener/journal/schema.ts";

export type TestDatabase = AsyncDisposable & { db: Db; url: string; close(): Promise<void> };

type Server = { url: string; close(): Promise<void> };

/** The suite's Postgres, or one for this process alone where a test file is run by itself. */
async function openServer(): Promise<Server> {
  const url = process.env.SLUICE_TEST_DATABASE_URL;
  if (url) return { url, close: async () => {} };
  const dataDir = mkdtempSync(join(tmpdir(), "sluice-test-"));
  chmodSync(dataDir, 0o755);
  const postgres = await openPostgres({ dataDir });
  return {
    url: postgres.url,
    async close() {
      await postgres.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/**
 * A database of its own, dropped at `close`.
 *
 * @param migrations what is run on it; the journal's tables unless told
 * @param open what opens the server that it is on
 */
export async function openTestDatabase(
  migrations: readonly Migration[] = JOURNAL_MIGRATIONS,
  open: () => Promise<Server> = openServer,
): Promise<TestDatabase> {
  const server = await open();
  const name = `test_${randomBytes(6).toString("hex")}`;
  const execute = async (statement: string) => {
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    try {
      await client.query(statement);
    } finally {
      await client.end();
    }
  };
  await execute(`create database ${name}`);
  const url = new URL(server.url);
  url.pathname = `/${name}`;
  const db = openDb(url.href, { name: "sluice-test" });
  if (migrations.length > 0) await migrate(db, migrations);
  const close = async () => {
    if (!db.ended) await db.end();
    await execute(`drop database if exists ${name} with (force)`);
    await server.close();
  };
  return { db, url: url.href, close, [Symbol.asyncDispose]: close };
}
