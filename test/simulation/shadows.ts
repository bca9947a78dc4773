import { type Db, type Tx, transaction } from "../../listener/db.ts";
import { AUDIT_SCHEMA, advanceShadow, ENTER_SHADOWS, prepareShadow, shadowed } from "../../listener/journal/audit-shadow.ts";
import { app } from "./sim-app.ts";

/** The shadows go on as in an audit, without the node. */
export async function advanceShadows(db: Db, chainId: number): Promise<void> {
  for (const shadow of shadowed(app)) {
    const advance = (tx: Tx) => advanceShadow(tx, { chainId, app }, shadow);
    let more = await inShadows(db, async tx => {
      await prepareShadow(tx, chainId, shadow);
      return advance(tx);
    });
    while (more) more = await inShadows(db, advance);
  }
}

/** As after a change of a projection's tables: its shadow begins anew. */
export async function forgetShadow(db: Db, chainId: number, name: string): Promise<void> {
  const shadow = shadowed(app).find(one => one.projection.name === name)!;
  const { projection, routes } = shadow;
  await inShadows(db, async tx => {
    await prepareShadow(tx, chainId, shadow);
    for (const table of projection.tables) await tx.query(`delete from ${AUDIT_SCHEMA}.${table} where chain_id = $1`, [chainId]);
    await tx.query("delete from audited where chain_id = $1 and queue = any($2)", [chainId, routes.map(({ queue }) => queue)]);
    await tx.query("delete from audit_touched where chain_id = $1 and relation = any($2)", [chainId, projection.tables]);
  });
}

const inShadows = <T>(db: Db, work: (tx: Tx) => Promise<T>): Promise<T> => transaction(db, work, "repeatable read", [ENTER_SHADOWS]);
