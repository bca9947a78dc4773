import type { NodeState, NodeStatus } from "../chain/nodes.ts";
import { cleanText, type Sql } from "../db.ts";

/**
 * A node as the listener that writes sees it. `url`: without its secrets. `reason`: null where all is well. `since`: ISO 8601.
 * `latency`: milliseconds of a small call. `rateLimit`: requests a second that it was found to allow, null where it never complained.
 */
export type NodeRow = {
  url: string;
  state: NodeState;
  reason: string | null;
  since: string;
  latency: number | null;
  rateLimit: number | null;
};

/** Of a provider's words. */
const MAX_REASON = 500;

export const toNodeRow = ({ url, state, lastError, since, latency, rateLimit }: NodeStatus): NodeRow => ({
  url,
  state,
  reason: state === "ok" || lastError === null ? null : cleanText(lastError).slice(0, MAX_REASON),
  since: since.toISOString(),
  latency,
  rateLimit,
});

/** Writes down the nodes of a chain in the place of those that were known; nothing, where a newer epoch writes. */
export async function writeNodes(
  sql: Sql,
  { chainId, epoch }: { chainId: number; epoch: number },
  nodes: readonly NodeRow[],
): Promise<void> {
  await sql.query(
    `with writer as (select from checkpoint where chain_id = $1 and epoch = $2),
     gone as (delete from nodes where chain_id = $1 and url <> all($3::text[]) and exists (select from writer))
     insert into nodes (chain_id, url, state, reason, since, latency, rate_limit)
     select $1, given.* from unnest($3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::float8[], $8::float8[]) given
     where exists (select from writer)
     on conflict (chain_id, url) do update set state = excluded.state, reason = excluded.reason, since = excluded.since,
       latency = excluded.latency, rate_limit = excluded.rate_limit`,
    [
      chainId,
      epoch,
      nodes.map(node => node.url),
      nodes.map(node => node.state),
      nodes.map(node => node.reason),
      nodes.map(node => node.since),
      nodes.map(node => node.latency),
      nodes.map(node => node.rateLimit),
    ],
  );
}

export async function readNodes(sql: Sql, chainId: number): Promise<NodeRow[]> {
  const { rows } = await sql.query<Omit<NodeRow, "since"> & { since: Date }>(
    `select url, state, reason, since, latency, rate_limit as "rateLimit" from nodes where chain_id = $1 order by url`,
    [chainId],
  );
  return rows.map(row => ({ ...row, since: row.since.toISOString() }));
}
