import { ZeroAddress } from "ethers";
import { app } from "../../listener/dapp/routes.ts";
import { token } from "../support/token.ts";
import type { World } from "../support/world.ts";

export type Comparison = { lost: number; doubled: number; wrong: number; notes: string[] };

type NodeLog = { blockHash: string; logIndex: string; topics: string[]; data: string };

const place = (hash: string, index: number) => `${hash}-${index}`;

/** The address in an indexed argument. Sliced by hand: ethers takes longer over a log than the listener over an event. */
const addressIn = (topic: string) => `0x${topic.slice(-40)}`.toLowerCase();

/**
 * Counts against the chain's own logs, by ways of its own (the node's JSON, its topics, plain SQL), and then asks `audit`.
 *
 * `lost`: logs without an event, and effects that are missing. `doubled`: events and effects that are there too often.
 * `wrong`: events that the chain does not have, balances and a supply other than the contract's, dead letters, and
 * whatever the audit finds.
 */
export async function compareWithChain(world: World): Promise<Comparison> {
  const found: Comparison = { lost: 0, doubled: 0, wrong: 0, notes: [] };
  const differ = (what: string, expected: number, there: number) => {
    if (there < expected) found.lost += expected - there;
    if (there > expected) found.doubled += there - expected;
    if (there !== expected) found.notes.push(`${what}: expected ${expected}, found ${there}`);
  };
  const wrong = (what: string) => {
    found.wrong += 1;
    found.notes.push(what);
  };
  const rows = async <R>(sql: string) => (await world.query(sql)).rows as R[];

  const topics = app.contracts.get("SluiceToken")!.map(({ topic }) => topic);
  const logs = await world.chain.rpc<NodeLog[]>("eth_getLogs", [
    { fromBlock: "0x0", toBlock: "latest", address: world.address, topics: [topics] },
  ]);
  const onChain = new Set(logs.map(log => place(log.blockHash, Number(log.logIndex))));

  const events = await rows<{ block_hash: string; log_index: number; n: number }>(
    "select block_hash, log_index, count(*)::int as n from sluice.events where live group by 1, 2",
  );
  for (const { block_hash, log_index, n } of events) {
    const at = place(block_hash, log_index);
    if (!onChain.delete(at)) wrong(`event ${at} is not on the chain`);
    if (n > 1) differ(`event ${at}`, 1, n);
  }
  if (onChain.size > 0) differ(`events of ${[...onChain].slice(0, 3)}`, onChain.size, 0);

  const named = (event: string) => {
    const { topicHash } = token.getEvent(event)!;
    return logs.filter(({ topics: [topic] }) => topic === topicHash);
  };
  const transfers = named("Transfer").map(log => ({ log, from: addressIn(log.topics[1]!), to: addressIn(log.topics[2]!) }));
  const histories = await rows<{ event: string; n: number }>(
    `select e.block_hash || '-' || e.log_index as event, count(*)::int as n
     from sluice.transfers t left join sluice.events e using (chain_id, position) group by 1`,
  );
  const shown = new Map(histories.map(({ event, n }) => [event, n]));
  for (const { log } of transfers) {
    const at = place(log.blockHash, Number(log.logIndex));
    differ(`history of ${at}`, 1, shown.get(at) ?? 0);
    shown.delete(at);
  }
  for (const at of shown.keys()) wrong(`history of ${at}, which is not on the chain`);

  const [statistics] = await rows<{ transfers: string; registered: string; supply: string }>(
    `select coalesce(sum(value) filter (where metric = 'transfers'), 0) as transfers,
       coalesce(sum(value) filter (where metric = 'registered'), 0) as registered,
       coalesce(sum(value) filter (where metric = 'supply'), 0) as supply from sluice.statistics`,
  );
  const between = transfers.filter(({ from, to }) => from !== ZeroAddress && to !== ZeroAddress);
  differ("transfers counted", between.length, Number(statistics!.transfers));
  differ("registrations counted", named("Registered").length, Number(statistics!.registered));

  const call = async (data: string) => BigInt(await world.chain.rpc<string>("eth_call", [{ to: world.address, data }, "latest"]));
  const supply = await call(token.encodeFunctionData("totalSupply"));
  if (supply !== BigInt(statistics!.supply)) wrong(`supply: expected ${supply}, found ${statistics!.supply}`);
  const balances = new Map(
    (await rows<{ address: string; balance: bigint }>("select address, balance from sluice.balances")).map(row => [
      row.address,
      row.balance,
    ]),
  );
  const holders = new Set(transfers.flatMap(({ from, to }) => [from, to]));
  holders.delete(ZeroAddress);
  for (const holder of new Set([...holders, ...balances.keys()])) {
    const balance = await call(token.encodeFunctionData("balanceOf", [holder]));
    if (balance !== (balances.get(holder) ?? 0n)) wrong(`balance of ${holder}: expected ${balance}, found ${balances.get(holder) ?? 0n}`);
  }

  const [dead] = await rows<{ n: number }>("select count(*)::int as n from sluice.deliveries where state = 'dead'");
  if (dead!.n > 0) wrong(`${dead!.n} dead letters`);
  const { failures } = await world.audit();
  for (const failure of failures) wrong(`audit: ${JSON.stringify(failure)}`);
  return found;
}
