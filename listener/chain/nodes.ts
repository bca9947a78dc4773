import type { Log } from "../log.ts";
import { hideSecretsOf, redactUrl } from "../redact.ts";
import { createPace } from "./pace.ts";

/**
 * How a URL behaves. `resting`: it failed, and is left alone for a while. `limited`: it asked for fewer requests. `refused`:
 * it will not talk to us until somebody sees to it. `behind`: it did not know a block that another URL knew, or its head
 * stays below the others'. `lying`: an answer of its could not be true, and no later one has made up for it.
 */
export type NodeState = "ok" | "resting" | "limited" | "refused" | "behind" | "lying";

/**
 * `url`: without its secrets, and with a number where two look the same then. `failures`: in a row, since it last answered.
 * `latency`: milliseconds of a small call, a moving average; null before the first. `rateLimit`: requests a second that it
 * was found to allow; null where it never complained.
 */
export type NodeStatus = {
  url: string;
  state: NodeState;
  failures: number;
  lastError: string | null;
  since: Date;
  latency: number | null;
  rateLimit: number | null;
};

/** The longest rest after a failure or a refusal, and while behind; the shortest and longest after a lie (ms). */
const MAX_REST = 5_000;
const MAX_BEHIND_REST = 2_000;
const LIE_REST = 60_000;
const MAX_LIE_REST = 900_000;
/** Of the newest measurement in the average of the latency. */
const WEIGHT = 0.2;
/** A head this many blocks below another URL's, at this many looks in a row, is a node that hangs. */
const LAG = 3;
const LOOKS = 2;

/** Names for URLs that may be shown to anybody. */
export function nodeNames(urls: readonly string[]): string[] {
  const seen = new Map<string, number>();
  return urls.map(url => {
    const name = redactUrl(url);
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    return count === 1 ? name : `${name} #${count}`;
  });
}

/** What is known of one URL, and until when (Date.now()) it is better left alone. Says once when that changes for the worse. */
export function createHealth(name: string, log: Log, { alone, url }: { alone: boolean; url: string }) {
  const status = { url: name, state: "ok" as NodeState, failures: 0, lastError: null as string | null, since: new Date() };
  const pace = createPace();
  let restUntil = 0;
  let downUntil = 0;
  let lies = 0;
  let lagging = 0;
  let latency: number | undefined;
  /** What it lied about: only a true answer to the same kind of question clears it. */
  let about: string | undefined;
  const hide = hideSecretsOf(url);
  /** The states that were said aloud since it last was ok. */
  const said = new Set<NodeState>();

  const become = (state: NodeState) => {
    if (status.state !== state) status.since = new Date();
    status.state = state;
  };
  const say = (text: string) => {
    if (!said.has(status.state)) log.warn({ node: name, reason: status.lastError }, `node ${name}: ${status.lastError}; ${text}`);
    said.add(status.state);
  };
  const rest = (base: number, max = MAX_REST) => Math.min(max, base * 2 ** Math.min(status.failures, 10)) * (0.5 + Math.random() / 2);

  return {
    name,
    status: (): NodeStatus => ({ ...status, latency: latency === undefined ? null : Math.round(latency), rateLimit: pace.limit() }),
    latency: () => latency,
    /** When it may be asked again. */
    readyAt: () => Math.max(restUntil, pace.readyAt()),
    /** When it may be asked where there is nobody else: a lie alone does not count then. */
    downUntil: () => Math.max(downUntil, pace.readyAt()),
    isLiar: () => status.state === "lying",
    isLagging: () => lagging >= LOOKS,
    /** A request goes out to it. */
    asked: () => pace.take(Date.now()),
    /** How long a small call took (ms). */
    took(ms: number) {
      latency = latency === undefined ? ms : latency * (1 - WEIGHT) + ms * WEIGHT;
    },
    /** It answered `method`; `checked`: and the answer was held against something. */
    answered(method: string, checked: boolean) {
      status.failures = 0;
      if (status.state === "ok" || lagging >= LOOKS) return;
      if (status.state === "lying" && (!checked || method !== about || Date.now() < restUntil)) return;
      if (said.size > 0) log.info({ node: name, seconds: Math.round((Date.now() - status.since.getTime()) / 1_000) }, `node ${name}: back`);
      become("ok");
      said.clear();
    },
    /** It did not answer, or asked for patience: for `retryAfter` ms, or for a growing, jittered time. */
    failed(reason: string, kind: "failed" | "limited" | "refused", retryAfter?: number) {
      if (kind === "limited") pace.limited(Date.now());
      downUntil = Date.now() + (retryAfter ?? rest(kind === "refused" ? 1_000 : 100));
      status.failures += 1;
      status.lastError = hide(reason);
      if (status.state === "lying") {
        restUntil = Math.max(restUntil, downUntil);
        return;
      }
      restUntil = downUntil;
      become(kind === "failed" ? "resting" : kind);
      if (kind === "refused") say("it is not a fault that passes: check this URL and its key in RPC_URL, and the plan behind it");
      else if (status.failures > 1 || alone) say("waiting");
    },
    /** It did not know what another URL knew, or what it had to know. */
    fellBehind(reason: string) {
      if (status.state === "lying") return;
      restUntil = Date.now() + rest(100, MAX_BEHIND_REST);
      status.failures += 1;
      status.lastError = hide(reason);
      become("behind");
    },
    /** Its head, beside the highest of those that are believed. */
    showedHead(number: number, highest: number) {
      lagging = highest - number >= LAG ? lagging + 1 : 0;
      if (lagging < LOOKS || status.state === "lying") return;
      status.lastError = `its head is ${number}, another node's is ${highest}`;
      become("behind");
      say("another node is asked first");
    },
    /** It said what cannot be true. The more often it does, the longer it rests. */
    lied(method: string, reason: string) {
      const repeated = status.state === "lying" && Date.now() < restUntil;
      if (!repeated) {
        restUntil = Date.now() + Math.min(MAX_LIE_REST, LIE_REST * 2 ** Math.min(lies, 10));
        lies += 1;
      }
      about = method;
      status.failures += 1;
      status.lastError = hide(reason);
      become("lying");
      say(alone ? "there is no other node to ask, so it is asked again" : "another node is asked");
    },
  };
}

export type Health = ReturnType<typeof createHealth>;
