import { Agent, type Dispatcher, request } from "undici";
import { sleep } from "../db.ts";
import { describe, SluiceError, WrongChainError } from "../errors.ts";
import { createOutage, type Log } from "../log.ts";
import { redactUrl } from "../redact.ts";
import { classifyRefusal } from "./provider-errors.ts";
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

/**
 * `knows`: only a URL whose node has the block of this number is asked. One that is behind answers as if nothing were there.
 * Where each URL said that it has not, the call rejects with `RpcError`.
 */
export type CallOptions = { knows?: number };

export interface Rpc {
  /**
   * One call, on whichever URL works; waits as long as none does. Rejects with `RpcError`, when the signal aborts, and with
   * `WrongChainError` where a URL turns out to stand for another chain than the one that was named.
   */
  call<T>(method: string, parameters: readonly unknown[], options?: CallOptions): Promise<T>;
  /** Calls `wake` for every new head that a WebSocket URL announces. A hint only: it may be late, doubled or missing. */
  onNewHead(wake: () => void): void;
  close(): void;
}

type Transport = { send(body: string): Promise<{ status: number; retryAfter: number | undefined; text: string }>; close(): void };

/** `identified`: set once it was asked which chain it stands for, until it fails: another node may answer then. */
type Endpoint = { url: string; transport: Transport; failures: number; restUntil: number; identified: Promise<void> | undefined };

const MAX_BODY = 64 * 1024 * 1024;
const TIMEOUT = 20_000;
const MAX_REST = 10_000;

/** What a node says that means "not now" rather than "no", besides that it limits the rate. */
const TRANSIENT = /no backend is currently healthy|temporarily unavailable|try again/i;
const TOO_MANY_REQUESTS = 429;
const BEHIND = -32_000;
const BEHIND_REST = 100;

const isTransient = (message: string) => TRANSIENT.test(message) || classifyRefusal(message).kind === "rate limited";

/**
 * Speaks JSON-RPC to one node through several URLs, in the given order of preference. A URL that fails rests for a
 * growing, jittered time (or what its Retry-After says) while the next one is asked. Where `chain` is given, each URL must
 * stand for that chain before anything else is asked of it, at first and after each time that it failed.
 */
export function openRpc(
  urls: readonly string[],
  options: { log: Log; signal: AbortSignal; chain?: { chainId: number; genesis: Hex } },
): Rpc {
  const { log, signal, chain } = options;
  const agent = new Agent({ connections: 8, keepAliveTimeout: 30_000 });
  const endpoints: Endpoint[] = urls.map(url => ({
    url,
    transport: url.startsWith("ws") ? webSocketTransport(url) : httpTransport(url, agent),
    failures: 0,
    restUntil: 0,
    identified: undefined,
  }));
  const outages = new Map(endpoints.map(endpoint => [endpoint, createOutage(log, `node ${redactUrl(endpoint.url)}`)]));
  const wakers: (() => void)[] = [];
  let id = 0;

  async function send(endpoint: Endpoint, method: string, parameters: readonly unknown[]): Promise<unknown> {
    const body = JSON.stringify({ jsonrpc: "2.0", id: ++id, method, params: parameters });
    const { status, retryAfter, text } = await endpoint.transport.send(body);
    let answer: { result?: unknown; error?: { code?: number; message?: string; data?: unknown } };
    try {
      answer = JSON.parse(text);
    } catch {
      throw new NodeFault(status === 200 ? "the answer is not JSON" : `HTTP ${status}`, retryAfter);
    }
    if (answer?.error) {
      const message = String(answer.error.message ?? "error without a message");
      if (status === TOO_MANY_REQUESTS || answer.error.code === TOO_MANY_REQUESTS || isTransient(message))
        throw new NodeFault(message, retryAfter);
      const detail = typeof answer.error.data === "string" && !answer.error.data.startsWith("0x") ? ` (${answer.error.data})` : "";
      throw new RpcError(method, answer.error.code ?? 0, `${message}${detail}`);
    }
    if (answer?.result === undefined) throw new NodeFault(status === 200 ? "the answer has no result" : `HTTP ${status}`, retryAfter);
    return answer.result;
  }

  async function checkKnows(endpoint: Endpoint, number: number): Promise<void> {
    const header = await send(endpoint, "eth_getBlockByNumber", [`0x${number.toString(16)}`, false]).catch(error => {
      if (error instanceof RpcError) return null;
      throw error;
    });
    if (header === null) throw new NodeBehind(`it does not have block ${number} yet`);
  }

  async function identify(endpoint: Endpoint, { chainId, genesis }: { chainId: number; genesis: Hex }): Promise<void> {
    const ask = (method: string, parameters: readonly unknown[]) =>
      send(endpoint, method, parameters).catch(error => {
        throw error instanceof RpcError ? new NodeFault(error.message) : error;
      });
    const id = Number(await ask("eth_chainId", []));
    const first = (await ask("eth_getBlockByNumber", ["0x0", false])) as { hash: Hex } | null;
    if (id === chainId && (first?.hash ?? genesis) === genesis) return;
    const found = id === chainId ? `a chain ${id} with genesis block ${first?.hash}, not ${genesis}` : `chain ${id}, not ${chainId}`;
    throw new WrongChainError(`${redactUrl(endpoint.url)} is on ${found}`, {
      hint: "every URL of RPC_URL must stand for the chain that the data came from; a local chain that was restarted is another one: deploy again and run `npm run reset`",
    });
  }

  async function nextEndpoint(): Promise<Endpoint> {
    const soonest = endpoints.reduce((best, e) => (e.restUntil < best.restUntil ? e : best));
    const rested = endpoints.find(e => e.restUntil <= Date.now());
    if (rested) return rested;
    await sleep(soonest.restUntil - Date.now(), signal);
    return soonest;
  }

  return {
    async call<T>(method: string, parameters: readonly unknown[], { knows }: CallOptions = {}): Promise<T> {
      const behind = new Set<Endpoint>();
      for (;;) {
        const endpoint = await nextEndpoint();
        signal.throwIfAborted();
        try {
          if (chain) await (endpoint.identified ??= identify(endpoint, chain));
          if (knows !== undefined) await checkKnows(endpoint, knows);
          const result = await send(endpoint, method, parameters);
          endpoint.failures = 0;
          outages.get(endpoint)!.ends();
          return result as T;
        } catch (error) {
          if (error instanceof WrongChainError) throw error;
          if (error instanceof RpcError) {
            endpoint.failures = 0;
            throw error;
          }
          endpoint.identified = undefined;
          signal.throwIfAborted();
          // A block that no node has may never have been: whoever named it must not be waited for.
          if (error instanceof NodeBehind && behind.add(endpoint).size === endpoints.length)
            throw new RpcError(method, BEHIND, `header not found: no node has block ${knows}`);
          if (error instanceof NodeBehind) {
            // It works, it is only not that far: no reason to leave it alone for longer each time.
            endpoint.restUntil = Date.now() + BEHIND_REST;
            continue;
          }
          const asked = error instanceof NodeFault ? error.retryAfter : undefined;
          const grown = Math.min(MAX_REST, 100 * 2 ** Math.min(endpoint.failures, 10));
          endpoint.failures += 1;
          endpoint.restUntil = Date.now() + (asked ?? grown * (0.5 + Math.random() / 2));
          if (endpoint.failures > 1 || endpoints.length === 1) outages.get(endpoint)!.begins(describe(error));
        }
      }
    },
    onNewHead(wake) {
      wakers.push(wake);
      if (wakers.length > 1) return;
      const subscribed = urls.find(url => url.startsWith("ws"));
      if (subscribed) void subscribe(subscribed, () => wakers.forEach(w => void w()), signal);
    },
    close() {
      for (const { transport } of endpoints) transport.close();
      void agent.destroy();
    },
  };
}

/** A fault of this node at this time: another try, here or elsewhere, may succeed. `retryAfter` is in milliseconds. */
class NodeFault extends Error {
  readonly retryAfter: number | undefined;

  constructor(message: string, retryAfter?: number) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

/** This node does not have a block that the answer depends on. */
class NodeBehind extends NodeFault {}

function httpTransport(url: string, dispatcher: Dispatcher): Transport {
  const { origin, pathname, search, username, password } = new URL(url);
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (username || password) {
    const userinfo = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    headers.authorization = `Basic ${Buffer.from(userinfo).toString("base64")}`;
  }
  return {
    async send(body) {
      const answer = await request(origin + pathname + search, {
        method: "POST",
        headers,
        body,
        dispatcher,
        headersTimeout: TIMEOUT,
        bodyTimeout: TIMEOUT,
      });
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of answer.body) {
        size += chunk.length;
        if (size > MAX_BODY) throw new RpcError("response", -32_020, `the response body exceeds ${MAX_BODY} bytes`);
        chunks.push(chunk);
      }
      const wait = Number(answer.headers["retry-after"]);
      const retryAfter = Number.isFinite(wait) && wait > 0 ? Math.min(wait * 1_000, 60_000) : undefined;
      return { status: answer.statusCode, retryAfter, text: Buffer.concat(chunks).toString("utf8") };
    },
    close() {},
  };
}

function webSocketTransport(url: string): Transport {
  let socket: WebSocket | undefined;
  let opened: Promise<WebSocket> | undefined;
  const waiting = new Map<number, { resolve(text: string): void; reject(error: Error): void; timer: NodeJS.Timeout }>();

  const fail = (reason: string) => {
    for (const { reject, timer } of waiting.values()) {
      clearTimeout(timer);
      reject(new NodeFault(reason));
    }
    waiting.clear();
    socket?.close();
    socket = opened = undefined;
  };
  const open = () =>
    (opened ??= new Promise<WebSocket>((resolve, reject) => {
      const fresh = new WebSocket(url);
      socket = fresh;
      fresh.onopen = () => resolve(fresh);
      fresh.onerror = () => reject(new NodeFault("the WebSocket does not open"));
      fresh.onclose = () => {
        reject(new NodeFault("the WebSocket does not open"));
        if (socket === fresh) fail("the WebSocket closed");
      };
      fresh.onmessage = ({ data }) => {
        const text = String(data);
        const id = Number(/"id"\s*:\s*(\d+)/.exec(text.slice(0, 200))?.[1] ?? /"id"\s*:\s*(\d+)\D*$/.exec(text.slice(-200))?.[1]);
        const waiter = waiting.get(id);
        if (!waiter) return;
        clearTimeout(waiter.timer);
        waiting.delete(id);
        waiter.resolve(text);
      };
    }));

  return {
    async send(body) {
      const socket = await open().catch(error => {
        opened = undefined;
        throw error;
      });
      const id = (JSON.parse(body) as { id: number }).id;
      const text = await new Promise<string>((resolve, reject) => {
        const timer = setTimeout(() => fail("the node does not answer"), TIMEOUT);
        waiting.set(id, { resolve, reject, timer });
        socket.send(body);
      });
      return { status: 200, retryAfter: undefined, text };
    },
    close: () => fail("closed"),
  };
}

/** A subscription may die without a word (Hardhat's do after five minutes), so it is renewed before that. */
const RENEW = 240_000;

async function subscribe(url: string, wake: () => void, signal: AbortSignal): Promise<void> {
  for (let delay = 100; !signal.aborted; delay = Math.min(delay * 2, 10_000)) {
    const socket = new WebSocket(url);
    const closed = new Promise<void>(resolve => {
      socket.onclose = () => resolve();
    });
    socket.onerror = () => {};
    socket.onopen = () => {
      delay = 100;
      socket.send(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_subscribe", params: ["newHeads"] }));
    };
    socket.onmessage = ({ data }) => {
      if (String(data).includes("eth_subscription")) wake();
    };
    const stop = () => socket.close();
    const renewal = setTimeout(stop, RENEW);
    signal.addEventListener("abort", stop, { once: true });
    await closed;
    clearTimeout(renewal);
    signal.removeEventListener("abort", stop);
    wake();
    await sleep(delay, signal);
  }
}
