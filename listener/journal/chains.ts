import type { Deployment } from "../chain/deployment.ts";
import { type ChainIdentity, checkSameChain } from "../chain/identity.ts";
import type { Rpc } from "../chain/rpc.ts";
import type { BlockRef, Hex } from "../chain/types.ts";
import { type Db, type Sql, transaction } from "../db.ts";

/**
 * Enters a chain into the journal, or holds the node's chain against the one that the journal was written for.
 *
 * @throws WrongChainError when it is another chain, or a local one that was restarted; nothing is changed then
 */
export async function enterChain(db: Db, rpc: Rpc, identity: ChainIdentity, deployment: Deployment): Promise<void> {
  const { chainId, genesis, instance } = identity;
  const contracts = Object.entries(deployment.contracts).map(([name, { address, block }]) => ({
    name,
    address: address.toLowerCase(),
    block,
  }));
  const start = Math.min(...contracts.map(({ block }) => block));
  await transaction(db, async tx => {
    await tx.query(
      `insert into checkpoint (chain_id, genesis_hash, instance, start_block) values ($1, $2, $3, $4) on conflict do nothing`,
      [chainId, genesis, instance, start],
    );
    const { rows } = await tx.query<{ start_block: number }>("select start_block from checkpoint where chain_id = $1 for update", [
      chainId,
    ]);
    const then = rows[0]!;
    await checkSameChain(rpc, identity, await readOrigin(tx, chainId));
    await tx.query("update checkpoint set instance = $2 where chain_id = $1", [chainId, instance]);

    const known = await tx.query<{ address: string }>("select address from contracts where chain_id = $1", [chainId]);
    const addresses = new Set(known.rows.map(({ address }) => address));
    const fresh = contracts.filter(({ address }) => !addresses.has(address));
    if (fresh.length === 0) return;
    await tx.query("update checkpoint set start_block = $2 where chain_id = $1", [chainId, Math.min(start, then.start_block)]);
    await tx.query(
      "insert into contracts (chain_id, address, name, start_block) select $1, * from unnest($2::text[], $3::text[], $4::bigint[])",
      [chainId, fresh.map(c => c.address), fresh.map(c => c.name), fresh.map(c => c.block)],
    );
  });
}

/** What the journal remembers of the chain that it was written for. */
export async function readOrigin(
  sql: Sql,
  chainId: number,
): Promise<{ genesis: Hex; instance: string | undefined; oldest: BlockRef | undefined }> {
  const { rows } = await sql.query<{ genesis_hash: Hex; instance: string | null }>(
    "select genesis_hash, instance from checkpoint where chain_id = $1",
    [chainId],
  );
  const { rows: blocks } = await sql.query<BlockRef>("select number, hash from blocks where chain_id = $1 order by number limit 1", [
    chainId,
  ]);
  return { genesis: rows[0]!.genesis_hash, instance: rows[0]!.instance ?? undefined, oldest: blocks[0] };
}
