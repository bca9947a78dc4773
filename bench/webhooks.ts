/**
 * Webhooks: how many a second to a local receiver, beside what plain undici does to the same one; and what 5 broken endpoints
 * among 20 cost the others.
 *
 *     npm run bench:webhooks
 */
import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { cpus, loadavg } from "node:os";
import { type Dispatcher, Pool } from "undici";
import { TIMING } from "../listener/webhooks/timing.ts";
import { account, CHAIN, transfer } from "../test/listener/api/support.ts";
import { openReceiver } from "../test/listener/webhooks/receiver.ts";
import { openWebhooks } from "../test/listener/webhooks/support.ts";
import { eventually } from "../test/support/eventually.ts";
import { freePort } from "../test/support/ports.ts";
import { run } from "../test/support/processes.ts";
import { startRedisServer } from "../test/support/redis-server.ts";

const EVENTS = 10_000;
const IN_FLIGHT = 32;

/** A receiver in a process of its own that answers and does nothing else. */
const RECEIVER = `
  const server = require("node:http").createServer((request, response) => request.resume().on("end", () => response.end("ok")));
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));`;

async function throughput(redisUrl: string | undefined): Promise<number> {
  const hooks = await openWebhooks({ timing: TIMING, redisUrl });
  const receiver = run(process.execPath, ["-e", RECEIVER]);
  try {
    await receiver.said(/\d+/);
    for (let left = EVENTS; left > 0; left -= 1_000) {
      await hooks.world.extend(
        Array.from({ length: Math.min(left, 1_000) }, (_, i) => transfer(account(i % 50), account(i % 49), BigInt(left - i))),
      );
    }
    const url = `http://127.0.0.1:${receiver.stdout().trim()}/`;
    const endpoint = await hooks.create({ url, finality: "latest", concurrency: IN_FLIGHT }, 1);
    await hooks.deliver();
    const began = performance.now();
    await hooks.dispatch();
    await eventually(
      async () =>
        Number((await hooks.db.query("select delivered from webhook_turns where endpoint = $1", [endpoint.id])).rows[0].delivered) ===
        EVENTS,
      {
        timeout: 120_000,
      },
    );
    return (EVENTS / (performance.now() - began)) * 1_000;
  } finally {
    await receiver.end();
    await hooks.close();
  }
}

/** What is left when there is no journal, no order, no signature and no record. */
async function ceiling(): Promise<number> {
  const receiver = run(process.execPath, ["-e", RECEIVER]);
  await receiver.said(/\d+/);
  const pool = new Pool(`http://127.0.0.1:${receiver.stdout().trim()}`, { connections: IN_FLIGHT, pipelining: 1 });
  const body = JSON.stringify({ padding: "x".repeat(600) });
  let left = EVENTS;
  const began = performance.now();
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async () => {
      while (left-- > 0) {
        const options: Dispatcher.RequestOptions = { path: "/", method: "POST", body, headers: { "content-type": "application/json" } };
        await (await pool.request(options)).body.dump();
      }
    }),
  );
  const rate = (EVENTS / (performance.now() - began)) * 1_000;
  await pool.close();
  await receiver.end();
  return rate;
}

const listening = async (server: Server | ReturnType<typeof createTcpServer>) => {
  await new Promise<void>(resolve => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
};

/** Five endpoints, each broken in its own way. */
async function openBroken() {
  const failing = createServer((_, response) => void response.writeHead(500).end());
  const redirecting = createServer(
    (_, response) => void response.writeHead(307, { location: "http://169.254.169.254/latest/meta-data" }).end(),
  );
  const endless = createServer((_, response) => {
    const pump = () => {
      while (!response.destroyed && response.write("x".repeat(16_384)));
      if (!response.destroyed) response.once("drain", pump);
    };
    pump();
  });
  // The status line, a letter at a time, without an end.
  const dripping = createTcpServer(socket => {
    socket.on("error", () => {});
    const timer = setInterval(() => socket.write("H"), 200);
    socket.on("close", () => clearInterval(timer));
    socket.write("HTTP/1.1 200 OK\r\nx-drip: ");
  });
  const servers = [failing, redirecting, endless, dripping];
  const urls = [`http://127.0.0.1:${await freePort()}/`, ...(await Promise.all(servers.map(listening)))];
  return {
    urls,
    close() {
      for (const server of servers) {
        if ("closeAllConnections" in server) server.closeAllConnections();
        server.close();
      }
    },
  };
}

/** Latencies from the commit of an event to its receipt, over 15 good endpoints (ms). */
async function latencies(broken: boolean, redisUrl: string): Promise<{ p50: number; p99: number; count: number }> {
  const hooks = await openWebhooks({ timing: TIMING, redisUrl });
  const good = await openReceiver();
  const bad = await openBroken();
  const sent = new Map<string, number>();
  try {
    for (let n = 0; n < 15; n++) await hooks.create({ url: good.url, finality: "latest" });
    if (broken) for (const url of bad.urls) await hooks.create({ url, finality: "latest" });
    await hooks.deliver();
    const dispatcher = await hooks.dispatch();
    const warm = 20;
    for (let block = 0; block < 120; block++) {
      const values = [0, 1].map(i => String(block * 2 + i));
      await hooks.world.extend(values.map(value => transfer(account(1), account(2), BigInt(value))));
      for (const value of values) if (block >= warm) sent.set(value, Date.now());
      dispatcher.wake();
      await new Promise(resolve => setTimeout(resolve, 100));
    }
    await eventually(() => good.received.length >= 120 * 2 * 15, { timeout: 30_000, what: () => good.received.length });
    const took = good.received
      .flatMap(({ at, events }) => {
        const began = sent.get(String(events[0]!.arguments.value));
        return began === undefined ? [] : [at - began];
      })
      .sort((a, b) => a - b);
    const quantile = (q: number) => took[Math.min(took.length - 1, Math.floor(took.length * q))]!;
    return { p50: quantile(0.5), p99: quantile(0.99), count: took.length };
  } finally {
    await hooks.close();
    await good.close();
    bad.close();
  }
}

const redis = await startRedisServer();
const load = () => loadavg()[0]!.toFixed(1);
console.log(`${cpus().length} cores, load ${load()} before; chain ${CHAIN}; ${EVENTS} messages, ${IN_FLIGHT} in flight`);
console.log(`plain undici          ${Math.round(await ceiling())} requests/s`);
console.log(`Sluice, on Redis      ${Math.round(await throughput(redis.url))} deliveries/s`);
console.log(`Sluice, on Postgres   ${Math.round(await throughput(undefined))} deliveries/s`);
console.log(`plain undici again    ${Math.round(await ceiling())} requests/s`);
for (const broken of [false, true, false, true]) {
  const { p50, p99, count } = await latencies(broken, redis.url);
  console.log(`15 good endpoints${broken ? " beside 5 broken" : ", no broken"}: p50 ${p50} ms, p99 ${p99} ms of ${count} deliveries`);
}
console.log(`load ${load()} after`);
await redis.remove();
