import { AbiCoder } from "ethers/abi";
import { ZeroAddress } from "ethers/constants";
import { id } from "ethers/hash";
import type { Audit, AuditContext } from "../app.ts";
import { contracts } from "./contracts.ts";

const CALLS_AT_ONCE = 16;

/** Reads a number from a contract at the tip, by the tip's hash: never from another block of the same number. */
async function read({ rpc, tip }: AuditContext, to: string, signature: string, argument = ""): Promise<bigint> {
  const data = `${id(signature).slice(0, 10)}${argument}`;
  return BigInt(await rpc.call<string>("eth_call", [{ to, data }, { blockHash: tip.hash }]));
}

type Holder = { address: string; balance: bigint };

/**
 * I7: what the journal's transfers add up to is `balanceOf` at the tip, for each account, or for each that moved since a
 * block. I8: all of it is `totalSupply`.
 */
export const auditBalances: Audit = async context => {
  const { tip, failed, checked } = context;
  const token = context.contracts.SluiceToken;
  if (!token) return;
  const { holders, sum } =
    context.since === undefined ? await allHolders(context, token) : await holdersSince(context, token, context.since);
  const compare = async ({ address, balance }: Holder) => {
    const onChain = await read(context, token, "balanceOf(address)", AbiCoder.defaultAbiCoder().encode(["address"], [address]).slice(2));
    if (onChain !== balance)
      failed({ invariant: "I7", what: `balance of ${address} at block ${tip.number}`, expected: onChain, found: balance });
  };
  for (let i = 0; i < holders.length; i += CALLS_AT_ONCE) await Promise.all(holders.slice(i, i + CALLS_AT_ONCE).map(compare));
  checked("I7", holders.length);
  const supply = await read(context, token, "totalSupply()");
  if (sum !== supply) failed({ invariant: "I8", what: `sum of balances at block ${tip.number}`, expected: supply, found: sum });
  checked("I8", 1);
};

async function allHolders({ tx, chainId }: AuditContext, token: string): Promise<{ holders: Holder[]; sum: bigint }> {
  const { rows: holders } = await tx.query<Holder>(
    `with transfers as (
       select arguments ->> 'from' as sender, arguments ->> 'to' as recipient, (arguments ->> 'value')::numeric as amount from events
       where chain_id = $1 and address = $2 and name = 'Transfer' and live and error is null
     ), moves as (select recipient as address, amount from transfers union all select sender, -amount from transfers)
     select address, sum(amount) as balance from moves where address <> $3 group by address order by address`,
    [chainId, token, ZeroAddress],
  );
  return { holders, sum: holders.reduce((total, { balance }) => total + balance, 0n) };
}

/** Orphaned transfers count as moves too: what they did has to be gone. */
async function holdersSince({ tx, chainId }: AuditContext, token: string, since: number): Promise<{ holders: Holder[]; sum: bigint }> {
  const { rows: holders } = await tx.query<Holder>(
    `select a.address, coalesce(b.balance, 0) as balance from (
       select distinct unnest(array[arguments ->> 'from', arguments ->> 'to']) as address from events
       where chain_id = $1 and block_number >= $3 and address = $2 and name = 'Transfer' and error is null
     ) a left join balances b on b.chain_id = $1 and b.address = a.address
     where a.address <> $4 order by a.address`,
    [chainId, token, since, ZeroAddress],
  );
  const { rows } = await tx.query<{ sum: bigint }>("select coalesce(sum(balance), 0) as sum from balances where chain_id = $1", [chainId]);
  return { holders, sum: rows[0]!.sum };
}

/** I17: no transfer between Paused and Unpaused. */
export const auditPauses: Audit = async ({ tx, chainId, since, failed, checked }) => {
  // Each contract begins as its last change before `since` left it.
  const { rows } = await tx.query<{ address: string; block_number: number; log_index: number; transfers: number }>(
    `with first as materialized (
       select distinct on (address) address, case name when 'Paused' then 1 else 0 end as pauses from named_events
       where chain_id = $1 and contract = 'SluiceToken' and name in ('Paused', 'Unpaused') and live and block_number < $2
       order by address, block_number desc, log_index desc
     )
     select * from (
       select e.address, block_number, log_index, name, coalesce(f.pauses, 0)
         + count(*) filter (where name = 'Paused') over chain - count(*) filter (where name = 'Unpaused') over chain as pauses
       from events e left join first f on f.address = e.address
       where chain_id = $1 and name in ('Transfer', 'Paused', 'Unpaused') and contract = 'SluiceToken' and live and block_number >= $2
       window chain as (partition by e.address order by block_number, log_index)
     ) history where name = 'Transfer' and pauses <> 0 limit 100`,
    [chainId, since ?? 0],
  );
  for (const { address, block_number, log_index } of rows) {
    failed({
      invariant: "I17",
      what: `transfer of ${address} in block ${block_number}, log ${log_index}`,
      expected: "none while paused",
      found: "a transfer",
    });
  }
  const { rows: transfers } = await tx.query<{ n: number }>(
    "select count(*) as n from events where chain_id = $1 and contract = 'SluiceToken' and name = 'Transfer' and live and block_number >= $2",
    [chainId, since ?? 0],
  );
  checked("I17", transfers[0]!.n);
};

/** The events that the token numbers. */
const NUMBERED = contracts.SluiceToken.flatMap(part =>
  part.type === "event" && part.inputs.some(({ name }) => name === "sequence") ? [part.name] : [],
);

/** The token numbers its own events: from 1 on, without a gap, up to the number that the contract itself stands at. */
export const auditSequences: Audit = async context => {
  const { tx, chainId, since, failed, checked } = context;
  const token = context.contracts.SluiceToken;
  if (!token) return;
  // Of each event that has a number, the last one before; found by its name, however far back that is.
  const { rows: before } = await tx.query<{ sequence: bigint | null }>(
    `select max(sequence) as sequence from unnest($4::text[]) as n (name) cross join lateral (
       select (arguments ->> 'sequence')::numeric as sequence from named_events e
       where chain_id = $1 and contract = 'SluiceToken' and e.name = n.name and address = $2 and live and block_number < $3
       order by run desc, position desc limit 1
     ) last`,
    [chainId, token, since ?? 0, NUMBERED],
  );
  const first = before[0]?.sequence ?? 0n;
  const { rows } = await tx.query<{ n: number; expected: bigint | null; found: bigint | null }>(
    `select count(*) as n, min(expected) filter (where sequence <> expected) as expected,
       (array_agg(sequence order by expected) filter (where sequence <> expected))[1] as found
     from (
       select (arguments ->> 'sequence')::numeric as sequence, $4::numeric + row_number() over (order by block_number, log_index) as expected
       from events where chain_id = $1 and block_number >= $3 and address = $2 and live and arguments ? 'sequence'
     ) numbered`,
    [chainId, token, since ?? 0, first],
  );
  const { n, expected, found } = rows[0]!;
  if (expected !== null) failed({ invariant: "sequence", what: `the event number ${expected} of ${token}`, expected, found });
  const last = await read(context, token, "sequence()");
  if (last !== first + BigInt(n)) failed({ invariant: "sequence", what: `events of ${token}`, expected: last, found: first + BigInt(n) });
  checked("sequence", n);
};

/** I16: whoever was granted a role and not revoked has it on the chain, and nobody else of whom the journal knows. */
export const auditRoles: Audit = async context => {
  const { tx, chainId, since, failed, checked } = context;
  const token = context.contracts.SluiceToken;
  if (!token) return;
  const { rows } = await tx.query<{ role: string; account: string; granted: boolean }>(
    `select distinct on (role, account) * from (
       select arguments ->> 'role' as role, arguments ->> 'account' as account, name = 'RoleGranted' as granted, block_number, log_index
       from named_events where chain_id = $1 and contract = 'SluiceToken' and address = $2 and name in ('RoleGranted', 'RoleRevoked') and live
         and block_number >= $3
     ) changes order by role, account, block_number desc, log_index desc`,
    [chainId, token, since ?? 0],
  );
  for (const { role, account, granted } of rows) {
    const given = AbiCoder.defaultAbiCoder().encode(["bytes32", "address"], [role, account]).slice(2);
    const has = (await read(context, token, "hasRole(bytes32,address)", given)) === 1n;
    if (has !== granted) failed({ invariant: "I16", what: `role ${role} of ${account}`, expected: has, found: granted });
  }
  checked("I16", rows.length);
};
