import type { Rpc } from "../chain/rpc.ts";
import { type Db, sleep } from "../db.ts";

/** Waits until the journal stands at the node's head and nothing is under way. False where that took longer than `timeout` ms. */
export async function drain(db: Db, rpc: Rpc, chainId: number, timeout: number): Promise<boolean> {
  const until = Date.now() + timeout;
  for (;;) {
    const head = Number(await rpc.call<string>("eth_blockNumber", []));
    const { rows } = await db.query<{ tip: number | null; open: boolean }>(
      `select tip_number as tip, exists (select from deliveries where chain_id = $1 and state in ('pending', 'sent')) as open
       from checkpoint where chain_id = $1`,
      [chainId],
    );
    if (rows[0]?.tip === head && !rows[0].open) return true;
    if (Date.now() > until) return false;
    await sleep(50);
  }
}
