import type { Deployment } from "../chain/deployment.ts";
import { type ChainIdentity, checkSameChain } from "../chain/identity.ts";
import type { Rpc } from "../chain/rpc.ts";
import type { BlockRef, Hex } from "../chain/types.ts";
import { type Db, type Sql, type Tx, transaction } from "../db.ts";
import { WrongChainError } from "../errors.ts";

type Origin = { genesis: Hex; instance: string | undefined; oldest: BlockRef | undefined };
type ContractRow = { name: string; address: Hex; block: number };

/**
 * Enters a chain into the journal, or holds the node's chain against the one that the journal was written for.
 *
 * @throws WrongChainError when it is another chain, a local one that was restarted, or one on which a contract was
 *   deployed anew; nothing is changed then
 */
export async function enterChain(db: Db, rpc: Rpc, identity: ChainIdentity, deployment: Deployment): Promise<void> {
  const { chainId, genesis, instance } = identity;
  const contracts = Object.entries(deployment.contracts).map(([name, { address, block }]) => ({
    name,
    address: address.toLowerCase(),
    block,
  }));
  // The node is asked before anything is locked: it may be away for long, and the writer needs the row.
  const origin = await readOrigin(db, chainId);
  if (origin) await checkSameChain(rpc, identity, origin);
  const entered = await transaction(db, async tx => {
    const start = Math.min(...contracts.map(({ block }) => block));
    await tx.query(
      `insert into checkpoint (chain_id, genesis_hash, instance, start_block) values ($1, $2, $3, $4) on conflict do nothing`,
      [chainId, genesis, instance, start],
    );
    const { rows } = await tx.query<{ start_block: number; genesis_hash: Hex; instance: string | null }>(
      "select start_block, genesis_hash, instance from checkpoint where chain_id = $1 for update",
      [chainId],
    );
    const now = rows[0]!;
    const isChecked = now.genesis_hash === genesis && [instance, origin?.instance].includes(now.instance ?? undefined);
    if (!isChecked) return false;
    const fresh = await freshContracts(tx, chainId, contracts);
    await tx.query("update checkpoint set instance = $2, start_block = $3 where chain_id = $1", [
      chainId,
      instance,
      fresh.length === 0 ? now.start_block : Math.min(start, now.start_block),
    ]);
    await tx.query(
      "insert into contracts (chain_id, address, name, start_block) select $1, * from unnest($2::text[], $3::text[], $4::bigint[])",
      [chainId, fresh.map(c => c.address), fresh.map(c => c.name), fresh.map(c => c.block)],
    );
    return true;
  });
  // Another process entered the chain in between.
  if (!entered) await enterChain(db, rpc, identity, deployment);
}

/** Those that the journal does not know. A known name at another address would mix two contracts' events under one name. */
async function freshContracts(tx: Tx, chainId: number, contracts: readonly ContractRow[]): Promise<ContractRow[]> {
  const { rows } = await tx.query<{ name: string; address: Hex }>("select name, address from contracts where chain_id = $1", [chainId]);
  const known = new Map(rows.map(({ name, address }) => [name, address]));
  for (const { name, address } of contracts) {
    const before = known.get(name);
    if (before !== undefined && before !== address) {
      throw new WrongChainError(`${name} is at ${address} by the deployment, at ${before} by the data`, {
        hint: "if it was deployed anew, run `npm run reset` to begin with the new one, or give it another name beside the old one",
      });
    }
  }
  const addresses = new Set(known.values());
  return contracts.filter(({ address }) => !addresses.has(address));
}

/** What the journal remembers of the chain that it was written for; undefined where it never entered it. */
export async function readOrigin(sql: Sql, chainId: number): Promise<Origin | undefined> {
  const { rows } = await sql.query<{ genesis_hash: Hex; instance: string | null }>(
    "select genesis_hash, instance from checkpoint where chain_id = $1",
    [chainId],
  );
  const { rows: blocks } = await sql.query<BlockRef>("select number, hash from blocks where chain_id = $1 order by number limit 1", [
    chainId,
  ]);
  return rows[0] && { genesis: rows[0].genesis_hash, instance: rows[0].instance ?? undefined, oldest: blocks[0] };
}
