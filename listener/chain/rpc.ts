import { sleep } from "../db.ts";
import { BadAnswerError, describe, MalformedAnswerError, SluiceError, UnverifiableError, WrongChainError } from "../errors.ts";
import type { Log } from "../log.ts";
import { redactUrl } from "../redact.ts";
import { parseHeader } from "./answers.ts";
import { createHedging } from "./hedge.ts";
import { subscribeToHeads } from "./new-heads.ts";
import { createHealth, type Health, type NodeStatus, nodeNames } from "./nodes.ts";
import { readReply } from "./reply.ts";
import { NodeFault, openTransport, type Transport } from "./transport.ts";
import type { Hex } from "./types.ts";

/** A JSON-RPC error that the node answered on purpose: asking again the same way would not help. */
export class RpcError extends SluiceError {
  readonly code: number;
  readonly method: string;

  constructor(method: string, code: number, message: string) {
    super(`${method}: ${message}`);
    this.code = code;
    this.method = method;
  }
}

/** How a call is made, and its answer judged while it is still known who gave it. */
export type CallOptions<T> = {
  /**
   * Only a URL whose node has the block of this number is asked: one that is behind answers as if nothing were there. Where
   * each URL said that it has not, the call rejects with `RpcError`.
   */
  knows?: number;
  /**
   * Makes of an answer what the caller wants. Where it throws `BadAnswerError` the answer is that URL's lie (or its nonsense,
   * where it is a `MalformedAnswerError`): nothing of it is used, and the next one is asked. `node` is the URL's name.
   */
  check?: (answer: unknown, node: string) => T;
  /** What is asked for should exist: a URL that says null, or refuses, may be behind, so the others are asked as well. */
  exists?: boolean;
  /** Asks another URL than this one, where there is another. */
  avoid?: string | undefined;
};

export interface Rpc {
  /**
   * One call, on whichever URL works; waits as long as none does. Rejects with `RpcError`, when the signal aborts, with
   * `WrongChainError` where a URL turns out to stand for another chain than the one that was named, and with the first
   * `BadAnswerError` where every URL's answer was judged and found false.
   */
  call<T>(method: string, parameters: readonly unknown[], options?: CallOptions<T>): Promise<T>;
  /** A URL turned out to have lied, by what another one said afterwards. */
  accuse(node: string, method: string, reason: string): void;
  /** What is known of each URL, in their order. */
  nodes(): NodeStatus[];
  /** Calls `wake` for every new head that a WebSocket URL announces. A hint only: it may be late, doubled or missing. */
  onNewHead(wake: () => void): void;
  close(): void;
}

/** `identified`: set once it was asked which chain it stands for, until it fails: another node may answer then. */
type Endpoint = { url: string; transport: Transport; health: Health; identified: Promise<void> | undefined };

type Call<T> = { method: string; parameters: readonly unknown[]; options: CallOptions<T> };

/** What came of asking one URL. `unhelpful`: it does not know, refuses or lies; `give` is the call's end if nobody does better. */
type Outcome<T> = { kind: "good"; value: T } | { kind: "unhelpful"; lied: boolean; give: () => T } | { kind: "failed" };

/** Methods whose answers are as large as what they tell of; any other answer is small, and so is the time that it takes. */
const LARGE = new Set(["eth_getLogs", "eth_getBlockReceipts"]);
const isSmall = (method: string, parameters: readonly unknown[]) => !LARGE.has(method) && parameters[1] !== true;
const MAX_LARGE = 64 * 1024 * 1024;
const MAX_SMALL = 16 * 1024 * 1024;

const BODY_TOO_LARGE = -32_020;
const BEHIND = -32_000;
/** How long a call that one URL could not help waits for another that rests (ms). */
const PATIENCE = 1_000;
/** How often each of several URLs is asked for its head (ms): so is known how fast it is, and whether it hangs. */
const PROBE = 3_000;
/** A URL is passed over for a later one that is more than so much faster. */
const CLEARLY_SLOWER = (latency: number, fastest: number) => latency > 2 * fastest + 50;

/**
 * Speaks JSON-RPC to one chain through several URLs, in the given order of preference, save that one which hangs behind the
 * others' heads or is clearly slower comes after them. A URL that fails rests for a growing, jittered time (or what its
 * Retry-After says) while the next one is asked, and one that lied for much longer, as long as there is one that did not. A
 * URL that limits us is asked no faster than it allows; a call that takes long is asked of a second one as well. Where
 * `chain` is given, each URL must stand for that chain before anything else is asked of it, at first and after each time
 * that it failed.
 */
export function openRpc(
  urls: readonly string[],
  options: { log: Log; signal: AbortSignal; chain?: { chainId: number; genesis: Hex } },
): Rpc {
  const { log, signal, chain } = options;
  const names = nodeNames(urls);
  const endpoints: Endpoint[] = urls.map((url, i) => ({
    url,
    transport: openTransport(url),
    health: createHealth(names[i]!, log, { alone: urls.length === 1, url }),
    identified: undefined,
  }));
  const hedging = createHedging();
  const over = new AbortController();
  const inFlight = new Set<AbortController>();
  const stop = () => {
    over.abort(signal.reason);
    for (const call of inFlight) call.abort(over.signal.reason);
  };
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  const wakers: (() => void)[] = [];
  let lastId = 0;
  let calls = 0;

  async function send(endpoint: Endpoint, method: string, parameters: readonly unknown[], signal: AbortSignal): Promise<unknown> {
    const id = ++lastId;
    const body = JSON.stringify({ jsonrpc: "2.0", id, method, params: parameters });
    const small = isSmall(method, parameters);
    const began = performance.now();
    try {
      const reply = await endpoint.transport.send(body, { id, maxBytes: small ? MAX_SMALL : MAX_LARGE, signal });
      const { result, error } = readReply(reply, id);
      if (error) throw new RpcError(method, error.code, error.message);
      return result;
    } catch (error) {
      // A range can be made smaller; what is small by its nature should not have been large.
      if (error instanceof NodeFault && error.kind === "too large" && !small) throw new RpcError(method, BODY_TOO_LARGE, error.message);
      throw error;
    } finally {
      // Also where it was given up for another's answer: that is when it was slow.
      if (small) endpoint.health.took(performance.now() - began);
    }
  }

  async function checkKnows(endpoint: Endpoint, number: number, signal: AbortSignal): Promise<void> {
    endpoint.health.asked();
    const header = await send(endpoint, "eth_getBlockByNumber", [`0x${number.toString(16)}`, false], signal).catch(error => {
      if (error instanceof RpcError) return null;
      throw error;
    });
    if (header === null) throw new NodeFault(`it does not have block ${number} yet`, { kind: "behind" });
  }

  async function identify(endpoint: Endpoint, { chainId, genesis }: { chainId: number; genesis: Hex }): Promise<void> {
    const ask = (method: string, parameters: readonly unknown[]) => {
      endpoint.health.asked();
      return send(endpoint, method, parameters, over.signal).catch(error => {
        throw error instanceof RpcError ? new NodeFault(error.message) : error;
      });
    };
    const answer = await ask("eth_chainId", []);
    // Nonsense is no chain's id: the node is broken, not elsewhere.
    if (typeof answer !== "string" || !/^0x[0-9a-f]+$/i.test(answer)) throw new NodeFault("its chain id is not a number");
    const id = Number(answer);
    const first = await ask("eth_getBlockByNumber", ["0x0", false]);
    const found = first === null ? genesis : parseHeader(first).hash;
    if (id === chainId && found === genesis) return;
    const other = id === chainId ? `a chain ${id} with genesis block ${found}, not ${genesis}` : `chain ${id}, not ${chainId}`;
    throw new WrongChainError(`${redactUrl(endpoint.url)} is on ${other}`, {
      hint: "every URL of RPC_URL must stand for the chain that the data came from; a local chain that was restarted is another one: deploy again and run `npm run reset`",
    });
  }

  /** Asks one URL. Rejects with what it answered on purpose, where no other URL could know better. */
  async function attempt<T>({ method, parameters, options }: Call<T>, endpoint: Endpoint, signal: AbortSignal): Promise<Outcome<T>> {
    const { health } = endpoint;
    const { knows, check, exists } = options;
    const unhelpful = (error: Error, lied = false): Outcome<T> => ({
      kind: "unhelpful",
      lied,
      give: () => {
        throw error;
      },
    });
    const began = performance.now();
    try {
      if (chain) await (endpoint.identified ??= identify(endpoint, chain));
      if (knows !== undefined) await checkKnows(endpoint, knows, signal);
      const answer = await send(endpoint, method, parameters, signal);
      const value = check ? check(answer, health.name) : (answer as T);
      health.answered(method, check !== undefined);
      hedging.answered(method, performance.now() - began);
      return answer === null && exists ? { kind: "unhelpful", lied: false, give: () => value } : { kind: "good", value };
    } catch (error) {
      if (signal.aborted) return { kind: "failed" };
      if (error instanceof WrongChainError) throw error;
      if (error instanceof RpcError) {
        health.answered(method, false);
        if (exists) return unhelpful(error);
        throw error;
      }
      if (error instanceof NodeFault && error.kind === "behind")
        return unhelpful(new RpcError(method, BEHIND, `header not found: no node has block ${knows}`));
      if (error instanceof MalformedAnswerError) {
        health.failed(`${method}: ${error.message}`, "failed");
        return unhelpful(named(error, health.name));
      }
      if (error instanceof BadAnswerError || error instanceof UnverifiableError) {
        health.lied(method, error.message);
        return unhelpful(error instanceof BadAnswerError ? named(error, health.name) : error, true);
      }
      const fault = error instanceof NodeFault ? error : undefined;
      const kind = fault?.kind === "limited" || fault?.kind === "refused" ? fault.kind : "failed";
      if (kind !== "limited") endpoint.identified = undefined;
      health.failed(describe(error), kind, fault?.retryAfter);
      return { kind: "failed" };
    }
  }

  /** Asks this URL, and another of those left as well where it takes long. The first good answer ends it, and the other call. */
  async function race<T>(call: Call<T>, first: Endpoint, left: readonly Endpoint[]): Promise<[Endpoint, Outcome<T>][]> {
    const settled: [Endpoint, Outcome<T>][] = [];
    const running = new Map<Endpoint, Promise<[Endpoint, Outcome<T>]>>();
    const ended = new AbortController();
    inFlight.add(ended);
    const start = (endpoint: Endpoint) => {
      endpoint.health.asked();
      running.set(
        endpoint,
        attempt(call, endpoint, ended.signal).then(outcome => [endpoint, outcome]),
      );
    };
    try {
      start(first);
      if (left.length > 1) {
        const nap = new AbortController();
        const slow = sleep(hedging.delay(call.method), nap.signal).then(() => "slow" as const);
        const which = await Promise.race([running.get(first)!, slow]).finally(() => nap.abort());
        const second = which === "slow" && best(left.filter(other => other !== first && !other.health.isLiar() && isReady(other)));
        if (second && hedging.afford()) start(second);
      }
      while (running.size > 0) {
        const one = await Promise.race(running.values());
        running.delete(one[0]);
        settled.push(one);
        if (one[1].kind === "good") break;
      }
      return settled;
    } finally {
      inFlight.delete(ended);
      ended.abort();
    }
  }

  const isReady = ({ health }: Endpoint) => health.readyAt() <= Date.now();

  /** The first of these that neither hangs behind the others nor is clearly slower. */
  function best(ready: readonly Endpoint[]): Endpoint | undefined {
    const upToDate = ready.filter(({ health }) => !health.isLagging());
    const from = upToDate.length > 0 ? upToDate : ready;
    const fastest = Math.min(...from.map(({ health }) => health.latency() ?? Number.POSITIVE_INFINITY));
    return from.find(({ health }) => !CLEARLY_SLOWER(health.latency() ?? 0, fastest));
  }

  /** The best of these as soon as one may be asked, a liar only where there is nobody else; undefined where none may by `until`. */
  async function nextEndpoint(candidates: readonly Endpoint[], until: number): Promise<Endpoint | undefined> {
    for (;;) {
      over.signal.throwIfAborted();
      const ready = best(candidates.filter(isReady));
      if (ready) return ready;
      const onlyLiars = endpoints.every(({ health }) => health.isLiar());
      const at = ({ health }: Endpoint) => (onlyLiars ? health.downUntil() : health.readyAt());
      const soonest = candidates.reduce((a, b) => (at(b) < at(a) ? b : a));
      if (at(soonest) <= Date.now()) return soonest;
      if (at(soonest) > until) return undefined;
      await sleep(at(soonest) - Date.now(), over.signal);
    }
  }

  async function call<T>(method: string, parameters: readonly unknown[], options: CallOptions<T> = {}): Promise<T> {
    calls += 1;
    const unhelpful: { endpoint: Endpoint; lied: boolean; give: () => T }[] = [];
    const others = endpoints.filter(({ health }) => health.name !== options.avoid);
    let left = others.length > 0 ? others : endpoints;
    let until = Number.POSITIVE_INFINITY;
    while (left.length > 0) {
      const chosen = await nextEndpoint(left, until);
      if (!chosen) break;
      for (const [endpoint, outcome] of await race({ method, parameters, options }, chosen, left)) {
        if (outcome.kind === "good") {
          for (const { endpoint, lied } of unhelpful)
            if (!lied) endpoint.health.fellBehind(`${method}: did not know what another node knew`);
          return outcome.value;
        }
        if (outcome.kind === "failed") continue;
        unhelpful.push({ endpoint, ...outcome });
        left = left.filter(other => other !== endpoint);
        until = Math.min(until, Date.now() + PATIENCE);
      }
      over.signal.throwIfAborted();
    }
    // Whoever does not know may be right: the block may be gone.
    return (unhelpful.find(({ lied }) => !lied) ?? unhelpful[0]!).give();
  }

  /** Asks every URL that may be asked for its head, and notes how far each is. */
  async function probe(): Promise<void> {
    const call: Call<number> = {
      method: "eth_getBlockByNumber",
      parameters: ["latest", false],
      options: { check: answer => parseHeader(answer).number },
    };
    const heads = await Promise.all(
      endpoints.filter(isReady).map(async endpoint => {
        endpoint.health.asked();
        const outcome = await attempt(call, endpoint, over.signal).catch(() => undefined);
        return { health: endpoint.health, head: outcome?.kind === "good" ? outcome.value : undefined };
      }),
    );
    const believed = heads.flatMap(({ health, head }) => (head === undefined || health.isLiar() ? [] : [{ health, head }]));
    const highest = Math.max(...believed.map(({ head }) => head));
    for (const { health, head } of believed) health.showedHead(head, highest);
  }

  async function watch(): Promise<void> {
    for (let before = 0; ; before = calls) {
      await sleep(PROBE, over.signal);
      if (over.signal.aborted) return;
      if (calls > before) await probe();
    }
  }
  if (endpoints.length > 1) void watch();

  return {
    call,
    accuse(node, method, reason) {
      endpoints.find(({ health }) => health.name === node)?.health.lied(method, reason);
    },
    nodes: () => endpoints.map(({ health }) => health.status()),
    onNewHead(wake) {
      wakers.push(wake);
      if (wakers.length > 1) return;
      const subscribed = urls.filter(url => url.startsWith("ws"));
      if (subscribed.length > 0) void subscribeToHeads(subscribed, () => wakers.forEach(w => void w()), over.signal);
    },
    close() {
      signal.removeEventListener("abort", stop);
      stop();
      for (const { transport } of endpoints) transport.close();
    },
  };
}

const named = (error: BadAnswerError, node: string): BadAnswerError => new BadAnswerError(`${node}: ${error.message}`, { node });
