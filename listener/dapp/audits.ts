import { AbiCoder, id, ZeroAddress } from "ethers";
import type { Audit, AuditContext } from "../app.ts";

const CALLS_AT_ONCE = 16;

/** Reads a number from a contract at the tip, by the tip's hash: never from another block of the same number. */
async function read({ rpc, tip }: AuditContext, to: string, signature: string, argument = ""): Promise<bigint> {
  const data = `${id(signature).slice(0, 10)}${argument}`;
  return BigInt(await rpc.call<string>("eth_call", [{ to, data }, { blockHash: tip.hash }]));
}

/** I7: what the journal's transfers add up to is `balanceOf` at the tip, for each account. I8: all of it is `totalSupply`. */
export const auditBalances: Audit = async context => {
  const { tx, chainId, tip, failed, checked } = context;
  const token = context.contracts.SluiceToken;
  if (!token) return;
  const { rows } = await tx.query<{ address: string; balance: bigint }>(
    `with transfers as (
       select arguments ->> 'from' as sender, arguments ->> 'to' as recipient, (arguments ->> 'value')::numeric as amount from events
       where chain_id = $1 and address = $2 and name = 'Transfer' and live and error is null
     ), moves as (select recipient as address, amount from transfers union all select sender, -amount from transfers)
     select address, sum(amount)::numeric(78,0) as balance from moves where address <> $3 group by address order by address`,
    [chainId, token, ZeroAddress],
  );
  const compare = async ({ address, balance }: (typeof rows)[number]) => {
    const onChain = await read(context, token, "balanceOf(address)", AbiCoder.defaultAbiCoder().encode(["address"], [address]).slice(2));
    if (onChain !== balance)
      failed({ invariant: "I7", what: `balance of ${address} at block ${tip.number}`, expected: onChain, found: balance });
  };
  for (let i = 0; i < rows.length; i += CALLS_AT_ONCE) await Promise.all(rows.slice(i, i + CALLS_AT_ONCE).map(compare));
  checked("I7", rows.length);
  const supply = await read(context, token, "totalSupply()");
  const sum = rows.reduce((total, { balance }) => total + balance, 0n);
  if (sum !== supply) failed({ invariant: "I8", what: `sum of balances at block ${tip.number}`, expected: supply, found: sum });
  checked("I8", 1);
};

/** I17: no transfer between Paused and Unpaused. */
export const auditPauses: Audit = async ({ tx, chainId, failed, checked }) => {
  const { rows } = await tx.query<{ address: string; block_number: number; log_index: number; name: string; pauses: number }>(
    `select * from (
       select address, block_number, log_index, name,
         count(*) filter (where name = 'Paused') over chain - count(*) filter (where name = 'Unpaused') over chain as pauses
       from events where chain_id = $1 and name in ('Transfer', 'Paused', 'Unpaused') and contract = 'SluiceToken' and live
       window chain as (partition by address order by block_number, log_index)
     ) history where name = 'Transfer' and pauses <> 0`,
    [chainId],
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
    "select count(*) as n from events where chain_id = $1 and contract = 'SluiceToken' and name = 'Transfer' and live",
    [chainId],
  );
  checked("I17", transfers[0]!.n);
};

/** The token numbers its own events: from 1 on, without a gap, up to the number that the contract itself stands at. */
export const auditSequences: Audit = async context => {
  const { tx, chainId, failed, checked } = context;
  const token = context.contracts.SluiceToken;
  if (!token) return;
  const { rows } = await tx.query<{ sequence: bigint; expected: number }>(
    `select (arguments ->> 'sequence')::numeric as sequence, row_number() over (order by block_number, log_index) as expected
     from events where chain_id = $1 and address = $2 and live and arguments ? 'sequence' order by block_number, log_index`,
    [chainId, token],
  );
  const gap = rows.find(({ sequence, expected }) => sequence !== BigInt(expected));
  if (gap)
    failed({ invariant: "sequence", what: `the event number ${gap.expected} of ${token}`, expected: gap.expected, found: gap.sequence });
  const last = await read(context, token, "sequence()");
  if (last !== BigInt(rows.length)) failed({ invariant: "sequence", what: `events of ${token}`, expected: last, found: rows.length });
  checked("sequence", rows.length);
};
