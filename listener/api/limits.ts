import { isIPv6 } from "node:net";
import type { FastifyRequest } from "fastify";
import { HttpProblem } from "./problem.ts";

/** The share of an allowance that may be requests with a wrong key. */
const FAILURES = 1 / 10;
/** The share of a minute's allowance that may come at once. */
const BURST = 1 / 6;
/** How many times an allowance the programs of this machine have that read without a key: they all share its one address. */
const LOCAL = 10;
/** Whoever is not remembered has a full allowance: what is forgotten is forgiven. */
const MAX_REMEMBERED = 10_000;

/** A bucket per key that fills evenly: `perMinute` a minute, a sixth of it at once. 0 lets everything through. */
export function createBuckets(perMinute: number, now: () => number = () => performance.now()) {
  const capacity = Math.max(1, perMinute * BURST);
  const perMs = perMinute / 60_000;
  const buckets = new Map<string, { left: number; at: number }>();
  const look = (key: string) => {
    const bucket = buckets.get(key);
    return bucket ? Math.min(capacity, bucket.left + (now() - bucket.at) * perMs) : capacity;
  };
  /** Seconds until there is one again; 0 where there is one. */
  const wait = (key: string) => (perMinute === 0 ? 0 : Math.max(0, Math.ceil((1 - look(key)) / perMs / 1_000)));
  return {
    wait,
    /** Takes one, where there is one. Gives what `wait` gave before. */
    take(key: string): number {
      const seconds = wait(key);
      if (seconds > 0 || perMinute === 0) return seconds;
      const left = look(key) - 1;
      // The one that was used last stands last, so that the first is the one to forget.
      buckets.delete(key);
      buckets.set(key, { left, at: now() });
      if (buckets.size > MAX_REMEMBERED) buckets.delete(buckets.keys().next().value!);
      return 0;
    },
  };
}

/** Whoever asks without a key is counted by address; of IPv6 by /64, which is what one customer has. */
export function addressOf({ ip }: FastifyRequest): string {
  if (!isIPv6(ip)) return ip;
  const v4 = /^::ffff:([\d.]+)$/i.exec(ip)?.[1];
  if (v4) return v4;
  const [head = "", tail] = ip.split("::");
  const groups = head.split(":").filter(Boolean);
  const rest = tail === undefined ? [] : tail.split(":").filter(Boolean);
  return [...groups, ...Array<string>(8 - groups.length - rest.length).fill("0"), ...rest].slice(0, 4).join(":");
}

export type RateLimits = {
  /** Counts a request of a key, or of an address without one. @throws HttpProblem 429 */
  take(request: FastifyRequest): void;
  /** Counts a read of this machine that needs no key. @throws HttpProblem 429 */
  takeLocal(request: FastifyRequest): void;
  /** @throws HttpProblem 429 for an address that has sent too many wrong keys */
  checkFailures(request: FastifyRequest): void;
  failed(request: FastifyRequest): void;
};

export function createRateLimits(perMinute: number): RateLimits {
  const requests = createBuckets(perMinute);
  const local = createBuckets(perMinute * LOCAL);
  const failures = createBuckets(perMinute * FAILURES);
  const refuse = (seconds: number, what: string) => {
    if (seconds > 0) throw new HttpProblem(429, `${what}: try again in ${seconds} s`, { headers: { "retry-after": String(seconds) } });
  };
  return {
    take: request => refuse(requests.take(request.access?.id ?? addressOf(request)), `more than ${perMinute} requests a minute`),
    takeLocal: request => refuse(local.take(addressOf(request)), `more than ${perMinute * LOCAL} requests a minute from this machine`),
    checkFailures: request => refuse(failures.wait(addressOf(request)), "too many requests with a wrong API key"),
    failed: request => void failures.take(addressOf(request)),
  };
}
