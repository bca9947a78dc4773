import { Pool } from "undici";
import { sleep } from "../listener/db.ts";
import type { Random } from "../scripts/support/random.ts";
import { eventually } from "../test/support/eventually.ts";
import { PEOPLE, personAt } from "./api-seed.ts";

/** The path of a request, chosen anew each time. */
export type Kind = { name: string; path(): string };

const QUERY = `query ($who: Address!) {
  status { lag } events(limit: 10) { items { id deliveries { queue state } } } account(address: $who) { balance }
}`;

/** A request of each kind, with people and events chosen anew each time. `seeded`: people are those of `api-seed.ts`. */
export async function findKinds(url: string, random: Random, seeded: boolean): Promise<Kind[]> {
  type Page = { items: { id: string; transactionHash: string; block: { number: number } }[]; nextCursor: string | null };
  const ask = async <T>(path: string) => (await (await fetch(`${url}/api/v1/${path}`)).json()) as T;
  const page = await eventually(async () => {
    const found = await ask<Page>("events?limit=100");
    return found.items.length > 20 ? found : undefined;
  });
  const known = seeded ? [] : (await ask<{ items: { address: string }[] }>("accounts?limit=100")).items.map(({ address }) => address);
  const person = () => (known.length > 0 ? random.pick(known) : personAt(1 + random.below(PEOPLE)));
  const event = () => random.pick(page.items);
  const reads: Record<string, () => string> = {
    status: () => "status",
    statistics: () => "statistics",
    queues: () => "queues",
    activity: () => `activity?window=${random.pick(["15m", "1h", "24h"])}`,
    events: () => "events",
    "a later page of events": () => `events?name=Transfer&limit=20${page.nextCursor ? `&cursor=${page.nextCursor}` : ""}`,
    "final events": () => "events?status=finalized&limit=20",
    "an event": () => `events/${event().id}`,
    "a transaction": () => `transactions/${event().transactionHash}`,
    "a block": () => `blocks/${event().block.number}`,
    accounts: () => "accounts?limit=20",
    "an account": () => `accounts/${person()}`,
    "an account's transfers": () => `accounts/${person()}/transfers?limit=20`,
    "an account's history": () => `accounts/${person()}/history?limit=100`,
  };
  const graphql = () => `/graphql?query=${encodeURIComponent(QUERY)}&variables=${encodeURIComponent(JSON.stringify({ who: person() }))}`;
  return [...Object.entries(reads).map(([name, path]) => ({ name, path: () => `/api/v1/${path()}` })), { name: "graphql", path: graphql }];
}

/** Milliseconds: `fromDue` from when a request should have been sent, `late` how much later it was. */
type Time = { kind: string; fromDue: number; late: number };
export type Times = { times: Time[]; failed: number };

/** Sends `rate` requests a second for so many seconds, each when it is due, whether or not those before were answered. */
export async function sendAtRate(
  url: string,
  kinds: readonly Kind[],
  { rate, seconds }: { rate: number; seconds: number },
): Promise<Times> {
  const pool = new Pool(url, { connections: 64, pipelining: 1 });
  const times: Time[] = [];
  let failed = 0;
  const began = performance.now();
  const underWay: Promise<void>[] = [];
  const send = async ({ name, path }: Kind, due: number) => {
    const late = Math.max(0, performance.now() - due);
    const { statusCode, body } = await pool.request({ path: path(), method: "GET" });
    await body.dump();
    if (statusCode !== 200) failed += 1;
    times.push({ kind: name, fromDue: performance.now() - due, late });
  };
  for (let n = 0; n < rate * seconds; n += 1) {
    const due = began + (n * 1_000) / rate;
    const wait = due - performance.now();
    if (wait > 0) await sleep(wait);
    underWay.push(send(kinds[n % kinds.length]!, due).catch(() => void (failed += 1)));
  }
  await Promise.all(underWay);
  await pool.close();
  return { times, failed };
}

/** Some quantiles of milliseconds, to a tenth. */
export function quantilesOf(list: readonly number[]): { p50: number; p95: number; p99: number; max: number } {
  const sorted = list.toSorted((a, b) => a - b);
  const at = (share: number) => Math.round(10 * (sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0)) / 10;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}
