/** As SQD's own examples do it: batches, entities of a batch loaded and saved at once. */
const { EvmBatchProcessor } = require("@subsquid/evm-processor");
const { TypeormDatabase } = require("@subsquid/typeorm-store");
const { In } = require("typeorm");
const { event, indexed } = require("@subsquid/evm-abi");
const p = require("@subsquid/evm-codec");
const pg = require("pg");
const { Account, Transfer } = require("./lib/model");

const topic = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
const transferEvent = event(topic, "Transfer(address,address,uint256)", { from: indexed(p.address), to: indexed(p.address), value: p.uint256 });
const zero = `0x${"00".repeat(20)}`;

const processor = new EvmBatchProcessor()
  .setRpcEndpoint({ url: process.env.RPC_URL, capacity: 10, maxBatchCallSize: 100 })
  .setRpcDataIngestionSettings({ headPollInterval: 500 })
  .setFinalityConfirmation(2)
  .setBlockRange({ from: Number(process.env.BENCH_START) })
  .setFields({ log: { transactionHash: true, topics: true, data: true }, block: { timestamp: true } })
  .addLog({ address: [process.env.BENCH_TOKEN.toLowerCase()], topic0: [topic] });

async function main() {
  const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
  await client.connect();
  await client.query(`
    create table transfer (id text primary key, "from" text not null, "to" text not null, amount numeric not null, block int4 not null,
      timestamp timestamptz not null, transaction_hash text not null, log_index int4 not null);
    create index on transfer ("from"); create index on transfer ("to");
    create table account (id text primary key, balance numeric not null);`);
  await client.end();

  processor.run(new TypeormDatabase({ supportHotBlocks: false }), async context => {
    const transfers = [];
    const changes = new Map();
    const change = (id, by) => id !== zero && changes.set(id, (changes.get(id) ?? 0n) + by);
    for (const block of context.blocks) {
      for (const log of block.logs) {
        const { from, to, value } = transferEvent.decode(log);
        transfers.push(
          new Transfer({
            id: log.id,
            from,
            to,
            amount: value,
            block: block.header.height,
            timestamp: new Date(block.header.timestamp),
            transactionHash: log.transactionHash,
            logIndex: log.logIndex,
          }),
        );
        change(from, -value);
        change(to, value);
      }
    }
    const ids = [...changes.keys()];
    const accounts = new Map();
    for (let i = 0; i < ids.length; i += 10_000) {
      for (const found of await context.store.findBy(Account, { id: In(ids.slice(i, i + 10_000)) })) accounts.set(found.id, found);
    }
    for (const [id, by] of changes) {
      const account = accounts.get(id);
      if (account) account.balance += by;
      else accounts.set(id, new Account({ id, balance: by }));
    }
    await context.store.upsert([...accounts.values()]);
    await context.store.insert(transfers);
  });
}

main();
