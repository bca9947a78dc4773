/** The ceiling of one job per event: logs as they come into `addBulk`, 250 at a time, two in flight, and a worker that does nothing. */
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";
import { ranges } from "./ranges.ts";

const { BENCH_REDIS_URL, BENCH_EVENTS } = process.env;
const connect = () => new Redis(BENCH_REDIS_URL!, { maxRetriesPerRequest: null });
const name = "ceiling";
const keep = { removeOnComplete: true, removeOnFail: true };

if (process.argv[2] === "produce") {
  const queue = new Queue(name, { connection: connect() });
  let adding: Promise<unknown>[] = [];
  for await (const logs of ranges()) {
    for (let i = 0; i < logs.length; i += 250) {
      adding.push(queue.addBulk(logs.slice(i, i + 250).map(data => ({ name, data, opts: keep }))));
      if (adding.length < 2) continue;
      await Promise.all(adding);
      adding = [];
    }
  }
  await Promise.all(adding);
  await new Promise(() => setInterval(() => {}, 1_000));
} else {
  let events = 0;
  let began = 0;
  const all = Number(BENCH_EVENTS);
  const work = async () => {
    began ||= performance.now();
    if (++events === all) console.log(`rate ${Math.round(events / ((performance.now() - began) / 1_000))}\ndone ${events}`);
    else if (events % 1_000 === 0) console.log(`done ${events}`);
  };
  new Worker(name, work, { connection: connect(), concurrency: 50, ...keepNothing() });
}

function keepNothing() {
  return { removeOnComplete: { count: 0 }, removeOnFail: { count: 0 } };
}
