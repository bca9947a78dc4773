import type { Sql } from "../db.ts";
import { coversEvent } from "./deliveries.ts";
import { isOnlyPruned } from "./pruned.ts";

/** Which deliveries count: those that took effect; those that may have, outside of this database; all that there are. */
const COUNTED = { done: "d.state = 'done'", tried: "(d.state = 'done' or d.attempts > 0)", planned: "true" };

/**
 * Those events that a delivery of this queue applied. A dead letter of a projection applied nothing, so nothing of it is
 * reverted; what it `tried` outside of this database is not known. What was pruned was done.
 */
export async function appliedAmong(
  sql: Sql,
  chainId: number,
  queue: string,
  positions: readonly number[],
  counted: keyof typeof COUNTED = "done",
): Promise<number[]> {
  if (positions.length === 0) return [];
  // A scalar subquery is answered event by event out of the index, whatever the planner knows of a table just filled.
  const { rows } = await sql.query<{ position: number }>(
    `select e.position from unnest($3::bigint[]) as e (position)
     where (
       select true from deliveries d
       where d.chain_id = $1 and d.queue = $2 and d.operation = 'apply' and ${COUNTED[counted]} and ${coversEvent("e.position")}
       order by d.last_event limit 1)
     or exists (select from events v where v.chain_id = $1 and v.position = e.position and ${isOnlyPruned("$2", "v")})`,
    [chainId, queue, positions],
  );
  return rows.map(({ position }) => position);
}
