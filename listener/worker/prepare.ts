import type { Tx } from "../db.ts";

/** Statements that a process prepares at most: an application writes the same few again and again. */
const MOST = 100;
const names = new Map<string, string>();

function nameOf(text: string): string | undefined {
  if (!names.has(text) && names.size < MOST) names.set(text, `project-${names.size}`);
  return names.get(text);
}

/**
 * The transaction, with each statement that has parameters parsed and planned once for each connection. For few events: those
 * are then most of the time. Of many, Postgres plans better with their number in view.
 *
 * Not for an audit, whose temporary tables have the names of real ones: a statement goes on meaning the one that it was prepared for.
 */
export function preparing(tx: Tx): Tx {
  const query = tx.query.bind(tx) as (...given: unknown[]) => unknown;
  return Object.create(tx, {
    query: {
      value(...given: unknown[]) {
        const [text, values, ...rest] = given;
        const name = typeof text === "string" && Array.isArray(values) ? nameOf(text) : undefined;
        return name ? query({ name, text, values }, ...rest) : query(...given);
      },
    },
  });
}
