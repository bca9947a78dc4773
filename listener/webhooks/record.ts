import type { Db } from "../db.ts";
import type { Attempt } from "./send.ts";
import type { Breaker } from "./turn.ts";

/** What became of a message by its n-th attempt. `wait`: milliseconds until the next one. */
export type Outcome = { sequence: number; number: number; attempt: Attempt; state: "pending" | "done" | "dead"; wait: number };

/**
 * Writes attempts, what they mean for their messages, and the breaker down in one statement. `recovered`: the endpoint
 * answers again after its breaker was open, so what waits for a later try is due now.
 */
export async function record(
  db: Db,
  {
    chainId,
    endpoint,
    outcomes,
    breaker,
    recovered,
  }: { chainId: number; endpoint: string; outcomes: readonly Outcome[]; breaker: Breaker; recovered: boolean },
): Promise<void> {
  const attempts = outcomes.map(({ attempt }) => attempt);
  await db.query(
    `with outcome as materialized (
       select * from unnest($3::bigint[], $4::int[], $5::timestamptz[], $6::int[], $7::int[], $8::text[], $9::text[], $10::text[], $11::float8[])
         as o (sequence, number, at, duration, status, error, answer, state, wait)
     ), logged as (
       insert into webhook_attempts (chain_id, endpoint, sequence, attempt, at, duration, status, error, answer)
       select $1, $2, sequence, number, at, duration, status, error, answer from outcome
     ), moved as (
       update webhook_messages m set state = o.state, attempts = greatest(m.attempts, o.number), status = o.status, error = o.error,
         first_at = coalesce(m.first_at, o.at), next_at = now() + o.wait * interval '1 ms',
         done_at = case when o.state = 'pending' then null else now() end
       from outcome o where m.chain_id = $1 and m.endpoint = $2 and m.sequence = o.sequence and m.state = 'pending'
     )
     update webhook_turns set failures = $12, probes = $13, probe_at = $14, delivered = delivered + $15, failed = failed + $16
     where chain_id = $1 and endpoint = $2`,
    [
      chainId,
      endpoint,
      outcomes.map(({ sequence }) => sequence),
      outcomes.map(({ number }) => number),
      attempts.map(({ at }) => at),
      attempts.map(({ duration }) => duration),
      attempts.map(({ status }) => status),
      attempts.map(({ error }) => error),
      attempts.map(({ answer }) => answer),
      outcomes.map(({ state }) => state),
      outcomes.map(({ wait }) => wait),
      breaker.failures,
      breaker.probes,
      breaker.probeAt,
      outcomes.filter(({ state }) => state === "done").length,
      outcomes.filter(({ state }) => state !== "done").length,
    ],
  );
  if (!recovered) return;
  await db.query(
    "update webhook_messages set next_at = now() where chain_id = $1 and endpoint = $2 and state = 'pending' and next_at > now()",
    [chainId, endpoint],
  );
}
