import { transaction } from "../../listener/db.ts";
import { audit, auditSince } from "../../listener/journal/audit.ts";
import { prune } from "../../listener/journal/retention.ts";
import { retryDeadLetters } from "../../listener/worker/dead-letters.ts";
import { compareEvents, type Difference } from "./compare.ts";
import { app, poison } from "./sim-app.ts";
import type { Simulation } from "./world.ts";

/** Rounds after which what is not settled will never be. */
const MOST_ROUNDS = 2_000;

/** Ends every fault. What remains is to be repaired by the system alone, except that somebody retries the dead letters. */
export function endFaults({ chain, chainId, endpoints, store }: Simulation): void {
  poison.delete(chainId);
  store.setFull(false);
  for (const endpoint of endpoints) {
    endpoint.way = "open";
    endpoint.node.lie = undefined;
    endpoint.node.view = () => chain.head;
  }
  // Whatever branch a node had shown, the canonical one is higher by now.
  const highest = chain.left.reduce((most, { number }) => Math.max(most, number), 0);
  chain.mine(Math.max(1, highest + 1 - chain.head.number));
}

/** Runs everything until nothing is left to do. Gives the virtual seconds that it took. */
export async function settle(simulation: Simulation): Promise<number> {
  const { db, chainId, chain, writers, store, found } = simulation;
  const began = simulation.now();
  // Those that were replaced try once more with what they have in their hands.
  for (const writer of writers.slice(0, -1)) if (writer.inHand) await simulation.advance(writer);
  if (writers.length === 0) await simulation.takeOver();
  const journalTip = async () =>
    (
      await db.query<{ number: number; hash: string }>(
        "select tip_number as number, tip_hash as hash from checkpoint where chain_id = $1",
        [chainId],
      )
    ).rows[0]!;
  for (let round = 0, rest = 0; rest < 2; round++) {
    if (round > MOST_ROUNDS) throw new Error(`the journal does not reach the head, block ${chain.head.number}`);
    const writer = writers.at(-1);
    if (!writer) await simulation.takeOver();
    else if (await simulation.advance(writer)) rest = 0;
    else {
      const tip = await journalTip();
      if (tip.hash === chain.head.hash) rest += 1;
      // A head below ours is only suspect, and stays so for as long as the chain stands still.
      else if (tip.number >= chain.head.number) chain.mine(1);
    }
  }
  const open = async (states: string) =>
    (await db.query<{ queue: string }>(`select distinct queue from deliveries where chain_id = $1 and state in (${states})`, [chainId]))
      .rows;
  for (let round = 0; ; round++) {
    if (round > MOST_ROUNDS) throw new Error(`not everything is delivered: ${JSON.stringify(await open("'pending', 'sent'"))}`);
    const waiting = await open("'pending', 'sent'");
    const dead = await open("'dead'");
    if (waiting.length === 0 && dead.length === 0) break;
    let busy = false;
    for (const { queue } of waiting) {
      while ((await simulation.relay(queue)) > 0) busy = true;
      while (await simulation.work(queue)) busy = true;
    }
    // A dead letter parks its lane: what waits behind it waits for this.
    if (!busy && dead.length > 0) await transaction(db, tx => retryDeadLetters(tx, chainId));
    if (!busy) await simulation.pass(store.size() > 0 ? Math.max(50, Math.min(3_000, store.nextAt() - simulation.now())) : 3_000);
  }
  for (const what of found.wrong) throw new Error(what);
  return (simulation.now() - began) / 1_000;
}

/** Holds everything against the chain: by a count of our own, and by the real audit. */
export async function compare(simulation: Simulation): Promise<Difference> {
  const { db, chainId, chain, rpc, contracts } = simulation;
  const difference = await compareEvents(db, chainId, chain);
  const wrong = (what: string) => {
    difference.wrong += 1;
    difference.first ??= `wrong: ${what}`;
  };
  const rows = async <R>(query: string) => (await db.query(query, [chainId])).rows as R[];

  const stored = await rows<{ address: string; balance: bigint }>("select address, balance from balances where chain_id = $1");
  const { token } = chain.head;
  const held = new Map([...token.balances].filter(([, balance]) => balance !== 0n));
  for (const { address, balance } of stored) {
    if (held.get(address) !== balance) wrong(`${address} has ${held.get(address)}, not ${balance}`);
    held.delete(address);
  }
  for (const [address, balance] of held) wrong(`${address} has ${balance}, not nothing`);
  const [supply] = await rows<{ value: bigint }>("select value from statistics where chain_id = $1 and metric = 'supply'");
  if ((supply?.value ?? 0n) !== token.supply) wrong(`the supply is ${token.supply}, not ${supply?.value}`);
  const registered = await rows<{ address: string }>("select address from accounts where chain_id = $1");
  if (registered.length !== token.registered.size) wrong(`${token.registered.size} accounts, not ${registered.length}`);
  for (const { what } of await rows<{ what: string }>("select what from disorder where chain_id = $1")) wrong(what);

  // What is final and of the task's event has run; nothing else has.
  const unpaid = await rows<{ position: number; ran: boolean }>(
    `select position, p.times is not null as ran
     from (select * from events where chain_id = $1 and name = 'Minted') e full join (select * from payouts where chain_id = $1) p using (position)
     left join checkpoint c on c.chain_id = $1
     where (e.live and e.block_number <= coalesce(c.finalized_number, -1)) is distinct from (p.times is not null) and (e.live or p.times is not null)`,
  );
  for (const { position, ran } of unpaid) {
    if (ran) wrong(`the task ran for event ${position}, which is not final`);
    else difference.lost += 1;
    difference.first ??= `lost: the task of event ${position}`;
  }

  const options = { db, rpc, source: simulation.source(), app, chainId, contracts };
  const reports = [await auditSince(options, 0)];
  await prune({ db, app, chainId, retention: 0 });
  reports.push(await audit(options));
  for (const report of reports)
    for (const { invariant, what, expected, found } of report.failures)
      wrong(`${invariant}: ${what}: expected ${expected}, found ${found}`);
  return difference;
}
