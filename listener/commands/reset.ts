import { existsSync, rmSync } from "node:fs";
import { loadEnvironment, readConfig } from "../config.ts";
import { openDb, SCHEMA } from "../db.ts";
import { resetChain } from "../embedded/chain.ts";
import { resetPostgres } from "../embedded/postgres.ts";
import { SluiceError } from "../errors.ts";
import { AUDIT_SCHEMA } from "../journal/audit-shadow.ts";
import { redactUrl } from "../redact.ts";
import { confirm } from "./confirm.ts";

/** Empties the local data, after asking: the embedded chain and database, or our tables in the given database. */
export async function reset(options: { yes?: boolean }): Promise<void> {
  const config = readConfig(loadEnvironment());
  const where = config.databaseUrl ? `the schemas ${SCHEMA} and bullmq in ${redactUrl(config.databaseUrl)}` : "the embedded database";
  const what = `${where}, the embedded chain and its deployment in ${config.dataDir}`;
  if (!options.yes && !(await confirm(`This removes ${what}. Go on?`, "npm run reset -- --yes"))) {
    process.stdout.write("nothing was removed\n");
    return;
  }
  // The chain goes last: it refuses while a process runs it, and so does the database.
  if (config.databaseUrl) await dropSchemas(config.databaseUrl);
  else await resetPostgres({ dataDir: config.dataDir });
  const hadChain = await resetChain({ dataDir: config.dataDir });
  // The deployment of an embedded chain is gone with it; that of another node was only written down here.
  if (hadChain && existsSync(config.deployment)) rmSync(config.deployment);
  process.stdout.write(`removed ${what}\n`);
}

/** Refused while a listener holds its lease: it would go on from what it remembers. */
async function dropSchemas(url: string): Promise<void> {
  const db = openDb(url, { max: 1, name: "sluice-reset" });
  try {
    const leaders = await db
      .query<{ writer: string }>("select writer from checkpoint where lease_until > clock_timestamp()")
      .catch(() => ({ rows: [] }));
    if (leaders.rows.length > 0) {
      throw new SluiceError(`${leaders.rows.map(({ writer }) => writer).join(", ")} is writing`, {
        hint: "stop the listeners, then run the command again",
      });
    }
    await db.query(`drop schema if exists ${SCHEMA} cascade`);
    await db.query(`drop schema if exists ${AUDIT_SCHEMA} cascade`);
    await db.query("drop schema if exists bullmq cascade");
  } finally {
    await db.end();
  }
}
