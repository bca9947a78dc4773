import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDb } from "../../listener/db.ts";
import { openPostgres, resetPostgres } from "../../listener/embedded/postgres.ts";
import { eventually } from "./eventually.ts";

/** A Postgres of a test's own, which can be killed and started again at the same address. */
export async function openOwnPostgres() {
  const dataDir = mkdtempSync(join(tmpdir(), "sluice-postgres-"));
  const opened = [await openPostgres({ dataDir })];
  const { url } = opened[0]!;
  const db = openDb(url, { name: "sluice-test" });
  const { rows } = await db.query<{ data_directory: string }>("show data_directory");
  const pidFile = join(rows[0]!.data_directory, "postmaster.pid");
  return {
    url,
    db,
    /** Ends the server as a power cut would. Resolves when it answers nobody. */
    async kill() {
      process.kill(Number(readFileSync(pidFile, "utf8").split("\n")[0]), "SIGKILL");
      await eventually(() =>
        db.query("select 1").then(
          () => false,
          () => true,
        ),
      );
    },
    async start() {
      // The orphaned processes of the killed server hold its memory until they have noticed.
      await eventually(async () => opened.push(await openPostgres({ dataDir })), { timeout: 30_000 });
      await eventually(() => db.query("select 1"), { timeout: 30_000 });
    },
    async close() {
      await db.end();
      for (const postgres of opened) await postgres.close();
      await resetPostgres({ dataDir });
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
