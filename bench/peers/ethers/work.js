/** What people write: a worker that stores each job's transfer and adds to two balances, in one transaction. */
const { Worker } = require("bullmq");
const pg = require("pg");

const { DATABASE_URL, BENCH_REDIS_URL } = process.env;
const { hostname, port } = new URL(BENCH_REDIS_URL);
const zero = `0x${"00".repeat(20)}`;

async function main() {
  const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 10 });
  await pool.query(`
    create table transfers (id text primary key, sender text not null, recipient text not null, amount numeric not null, block int8 not null,
      transaction_hash text not null, log_index int4 not null);
    create index on transfers (sender); create index on transfers (recipient);
    create table balances (address text primary key, balance numeric not null);`);
  const work = async ({ data }) => {
    const client = await pool.connect();
    try {
      await client.query("begin");
      await client.query("insert into transfers values ($1, $2, $3, $4, $5, $6, $7)", Object.values(data));
      const changes = [
        [data.from, `-${data.amount}`],
        [data.to, data.amount],
      ].sort(([a], [b]) => (a < b ? -1 : 1));
      for (const [address, by] of changes) {
        if (address === zero) continue;
        await client.query(
          "insert into balances as b values ($1, $2) on conflict (address) do update set balance = b.balance + excluded.balance",
          [address, by],
        );
      }
      await client.query("commit");
    } catch (error) {
      await client.query("rollback");
      throw error;
    } finally {
      client.release();
    }
  };
  new Worker("transfers", work, { connection: { host: hostname, port: Number(port), maxRetriesPerRequest: null }, concurrency: 10 });
}

main();
