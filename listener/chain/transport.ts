import { Agent, request } from "undici";

/**
 * A fault of this node at this time: another try, here or elsewhere, may succeed. `retryAfter` is in milliseconds.
 * `kind`: `limited` where it asks for fewer requests, `refused` where it will go on to say no until somebody does something
 * about it, `behind` where it lacks a block that the answer depends on, `too large` where the body was not read to its end.
 */
export class NodeFault extends Error {
  readonly kind: "failed" | "limited" | "refused" | "behind" | "too large";
  readonly retryAfter: number | undefined;

  constructor(message: string, { kind = "failed", retryAfter }: { kind?: NodeFault["kind"]; retryAfter?: number | undefined } = {}) {
    super(message);
    this.kind = kind;
    this.retryAfter = retryAfter;
  }
}

/** `maxBytes` of the answer are read at most. `signal` gives the request up: nobody waits for the answer any more. */
export type SendOptions = { id: number; maxBytes: number; signal: AbortSignal };
/** `retryAfter`: milliseconds that the node asks to be left alone for. */
export type Reply = { status: number; retryAfter: number | undefined; text: string };
export type Transport = { send(body: string, options: SendOptions): Promise<Reply>; close(): void };

const TIMEOUT = 20_000;
/** To one URL: a range's headers are many small calls, whose time is that of the way. */
const CONNECTIONS = 24;
/** Whatever a node says, it is asked again after this time. */
const MAX_RETRY_AFTER = 900_000;

/** How one URL is spoken to: by HTTP, or by a WebSocket that is opened when it is needed. */
export const openTransport = (url: string): Transport => (url.startsWith("ws") ? webSocketTransport(url) : httpTransport(url));

/** A Retry-After header (seconds, or a date) in milliseconds. */
export function parseRetryAfter(header: string | string[] | undefined, now = Date.now()): number | undefined {
  const text = String(header ?? "").trim();
  const wait = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - now;
  return Number.isFinite(wait) && wait > 0 ? Math.min(wait, MAX_RETRY_AFTER) : undefined;
}

function httpTransport(url: string): Transport {
  const { origin, pathname, search, username, password } = new URL(url);
  const agent = new Agent({ connections: CONNECTIONS, keepAliveTimeout: 30_000 });
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (username || password) {
    const userinfo = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    headers.authorization = `Basic ${Buffer.from(userinfo).toString("base64")}`;
  }
  return {
    async send(body, { maxBytes, signal }) {
      const answer = await request(origin + pathname + search, {
        method: "POST",
        headers,
        body,
        signal,
        dispatcher: agent,
        headersTimeout: TIMEOUT,
        bodyTimeout: TIMEOUT,
      });
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of answer.body) {
        size += chunk.length;
        if (size > maxBytes) throw new NodeFault(`the response body exceeds ${maxBytes} bytes`, { kind: "too large" });
        chunks.push(chunk);
      }
      const text = Buffer.concat(chunks).toString("utf8");
      return { status: answer.statusCode, retryAfter: parseRetryAfter(answer.headers["retry-after"]), text };
    },
    close: () => void agent.destroy(),
  };
}

type Waiting = { maxBytes: number; resolve(text: string): void; reject(error: Error): void };

function webSocketTransport(url: string): Transport {
  let socket: WebSocket | undefined;
  let opened: Promise<WebSocket> | undefined;
  const waiting = new Map<number, Waiting>();

  const fail = (reason: string) => {
    for (const { reject } of waiting.values()) reject(new NodeFault(reason));
    waiting.clear();
    socket?.close();
    socket = opened = undefined;
  };
  const receive = (text: string) => {
    const id = idOf(text);
    const waiter = id === undefined ? undefined : waiting.get(id);
    if (!waiter) return;
    waiting.delete(id!);
    if (text.length <= waiter.maxBytes) waiter.resolve(text);
    else waiter.reject(new NodeFault(`the response body exceeds ${waiter.maxBytes} bytes`, { kind: "too large" }));
  };
  const open = () =>
    (opened ??= new Promise<WebSocket>((resolve, reject) => {
      const fresh = new WebSocket(url);
      socket = fresh;
      const timer = setTimeout(() => socket === fresh && fail("the WebSocket does not open"), TIMEOUT);
      fresh.onopen = () => {
        clearTimeout(timer);
        resolve(fresh);
      };
      fresh.onerror = () => reject(new NodeFault("the WebSocket does not open"));
      fresh.onclose = () => {
        clearTimeout(timer);
        reject(new NodeFault("the WebSocket does not open"));
        if (socket === fresh) fail("the WebSocket closed");
      };
      fresh.onmessage = ({ data }) => receive(String(data));
    }));

  return {
    async send(body, { id, maxBytes, signal }) {
      const socket = await open().catch(error => {
        opened = undefined;
        throw error;
      });
      const timer = setTimeout(() => fail("the node does not answer"), TIMEOUT);
      let giveUp = () => {};
      try {
        const text = await new Promise<string>((resolve, reject) => {
          giveUp = () => reject(signal.reason);
          signal.throwIfAborted();
          signal.addEventListener("abort", giveUp, { once: true });
          waiting.set(id, { maxBytes, resolve, reject });
          socket.send(body);
        });
        return { status: 200, retryAfter: undefined, text };
      } finally {
        clearTimeout(timer);
        signal.removeEventListener("abort", giveUp);
        waiting.delete(id);
      }
    },
    close: () => fail("closed"),
  };
}

/** Whose answer a message is, read without parsing all of it: the id stands at its beginning or at its end. */
function idOf(text: string): number | undefined {
  const found = /"id"\s*:\s*(\d+)/.exec(text.slice(0, 200)) ?? /"id"\s*:\s*(\d+)\D*$/.exec(text.slice(-200));
  return found ? Number(found[1]) : undefined;
}
