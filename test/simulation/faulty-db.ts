import type { Db } from "../../listener/db.ts";

/**
 * What befalls a process and its database: `kill` ends the process, `sever` only the connection. It happens at statement
 * number `at` of what follows, or at the commit; `after`: the server has done it, and its reply is lost.
 */
export type DbFault = { kind: "kill" | "sever"; at: number | "commit"; after: boolean };

/** What pg throws where the connection breaks. */
const severed = () => Object.assign(new Error("Connection terminated unexpectedly"), { code: "ECONNRESET" });

/** A statement's text; none for the stream of a COPY. */
const textOf = (given: unknown): string =>
  typeof given === "string" ? given : (given as { name?: string }).name ? (given as { text: string }).text : "";

/** A process's way to the database, which can break at any statement. What is open then the server rolls back. */
export function faultyDb(db: Db) {
  let fault: DbFault | undefined;
  let statements = 0;
  let isDead = false;

  const run = async (target: { query: Db["query"] }, given: unknown[]): Promise<unknown> => {
    const text = textOf(given[0]);
    // The server's own doing: it comes whether the process lives or not.
    if (text === "rollback") return target.query(text);
    if (isDead) throw severed();
    const planned =
      fault && (fault.at === "commit" ? text === "commit" || text.startsWith("with held as") : fault.at === statements) ? fault : undefined;
    statements += 1;
    if (!planned) return target.query(...(given as [string]));
    fault = undefined;
    if (planned.after) await target.query(...(given as [string]));
    isDead = planned.kind === "kill";
    throw severed();
  };

  const faulty = {
    query: (...given: unknown[]) => run(db as never, given),
    async connect() {
      if (isDead) throw severed();
      const client = await db.connect();
      return {
        query(...given: unknown[]) {
          if (textOf(given[0]) !== "") return run(client as never, given);
          // The stream of a COPY breaks with the statement before it or after it.
          if (isDead) throw severed();
          return client.query(given[0] as never);
        },
        release: () => client.release(),
      };
    },
  };
  return {
    db: faulty as unknown as Db,
    arm(next: DbFault) {
      fault = next;
      statements = 0;
    },
    /** Whether the process was killed. What was armed and did not happen is forgotten. */
    disarm(): boolean {
      fault = undefined;
      return isDead;
    },
  };
}

export type FaultyDb = ReturnType<typeof faultyDb>;
