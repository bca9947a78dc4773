import type { Db } from "../listener/db.ts";

/** Events of one block, and people who send them to one another. */
const BLOCK = 50;
export const PEOPLE = 10_000;

export const personAt = (n: number) => `0x${n.toString(16).padStart(40, "0")}`;
const ADDRESS = (n: string) => `'0x' || lpad(to_hex(${n}), 40, '0')`;
const HASH = (kind: number, n: string) => `'0x${kind}' || lpad(to_hex(${n}), 63, '0')`;

/** A journal with so many transfers between people, all applied, as a listener and workers would have left it. */
export async function seedJournal(db: Db, chainId: number, count: number): Promise<void> {
  const run = (sql: string) => db.query(sql);
  const blocks = Math.ceil(count / BLOCK);
  const transfers = `
    select i, 1 + (i - 1) / ${BLOCK} as block, i % ${BLOCK} as log_index, ${ADDRESS(`1 + i * 7919 % ${PEOPLE}`)} as sender,
      ${ADDRESS(`1 + i * 104729 % ${PEOPLE}`)} as recipient, i as amount from generate_series(1::bigint, ${count}) as i`;
  await run(
    `insert into events (chain_id, position, block_number, block_hash, block_timestamp, transaction_hash, transaction_index, log_index,
       address, contract, name, arguments, topics, data, seen_at)
     select ${chainId}, i, block, ${HASH(1, "block")}, 1700000000 + block, ${HASH(2, "i")}, log_index, log_index, ${ADDRESS("1")},
       'SluiceToken', 'Transfer', jsonb_build_object('from', sender, 'to', recipient, 'value', amount::text),
       array[${HASH(3, "1")}, '0x' || repeat('0', 24) || substr(sender, 3), '0x' || repeat('0', 24) || substr(recipient, 3)],
       ${HASH(0, "amount")}, now() - (${blocks} - block) * interval '1 second'
     from (${transfers}) t`,
  );
  await run(
    `insert into transfers (chain_id, position, sender, recipient, amount, block_number)
     select ${chainId}, i, decode(substr(sender, 3), 'hex'), decode(substr(recipient, 3), 'hex'), amount, block from (${transfers}) t`,
  );
  await run(
    `insert into balances (chain_id, address, balance) select ${chainId}, ${ADDRESS("i")}, 1000 + i from generate_series(1, ${PEOPLE}) i`,
  );
  await run(
    `insert into accounts (chain_id, address, name, granted, block_number, position)
     select ${chainId}, ${ADDRESS("i")}, 'person ' || i, 0, i, i from generate_series(1, ${PEOPLE}) i`,
  );
  for (const queue of ["balances", "transfers", "statistics"]) {
    await run(
      `insert into deliveries (chain_id, queue, position, operation, events, first_event, last_event, state, sends, attempts, sent_at, done_at)
       select ${chainId}, '${queue}', b, 'apply', array(select generate_series((b - 1) * ${BLOCK} + 1, b * ${BLOCK})::bigint),
         (b - 1) * ${BLOCK} + 1, b * ${BLOCK}, 'done', 1, 1, now(), now() from generate_series(1, ${blocks}) b`,
    );
    await run(`insert into queues (chain_id, queue, created) values (${chainId}, '${queue}', ${blocks})`);
  }
  await run(
    `insert into activity (chain_id, step, at, metric, label, value)
     select ${chainId}, step, (extract(epoch from now())::bigint / step - n) * step, metric, label::text, 10
     from (values (10, 720), (720, 840)) as s (step, spans), generate_series(0, spans) n,
       (select 'event' as metric, 'SluiceToken.' || i as label from generate_series(1, 8) i
        union all select 'latency', i::text from generate_series(1, 15) i
        union all select 'done', 'queue-' || i from generate_series(1, 5) i
        union all select 'lag', '') as m`,
  );
  await run(
    `insert into blocks (chain_id, number, hash, parent_hash, timestamp)
     select ${chainId}, b, ${HASH(1, "b")}, ${HASH(1, "b - 1")}, 1700000000 + b from generate_series(${blocks - 16}, ${blocks}) b`,
  );
  await run(
    `insert into checkpoint (chain_id, genesis_hash, start_block, tip_number, tip_hash, finalized_number, finalized_hash, head_number, head_at, events)
     values (${chainId}, '0x00', 1, ${blocks}, ${HASH(1, String(blocks))}, ${blocks - 16}, ${HASH(1, String(blocks - 16))}, ${blocks}, now(), ${count})`,
  );
  await run("analyze");
}
