import { Agent, buildConnector, type Dispatcher, request } from "undici";
import { describe } from "../errors.ts";
import { checkAddress, checkUrl, type Guard, guardedLookup } from "./address-guard.ts";
import { activeSecrets, type Endpoint } from "./endpoints.ts";
import { signatureHeaders } from "./sign.ts";

/** What became of one attempt. `answer`: the first KB of what the receiver said. Times are in milliseconds. */
export type Attempt = {
  at: Date;
  duration: number;
  status: number | null;
  error: string | null;
  answer: string | null;
  /** What the receiver asks for by `Retry-After`. */
  retryAfter: number | null;
};

export const isDelivered = ({ status }: Pick<Attempt, "status">) => status !== null && status >= 200 && status < 300;

/** What is kept of an answer, what is read of it so that its connection can serve again, and for how long (bytes, ms). */
const ANSWER = { kept: 1_024, read: 16 * 1_024, patience: 1_000 };
const CONNECT_TIMEOUT = 5_000;
const MAX_HEADERS = 16 * 1_024;
/** The longest that a receiver may put us off (ms). */
const MAX_RETRY_AFTER = 24 * 60 * 60_000;

export type Sender = { send(message: { id: string; body: string }, signal: AbortSignal): Promise<Attempt>; close(): Promise<void> };

/** Connections of one endpoint: as many as it may have requests under way, each checked where it goes. */
export function openSender(endpoint: Endpoint, guard: Guard): Sender {
  const connect = buildConnector({ timeout: CONNECT_TIMEOUT, allowH2: false, lookup: guardedLookup(guard) as never });
  const agent = new Agent({
    connections: endpoint.concurrency,
    pipelining: 1,
    maxHeaderSize: MAX_HEADERS,
    connect: (options, callback) => {
      // A socket to an IP address asks no lookup.
      const host = options.hostname.replace(/^\[|\]$/g, "");
      try {
        if (/^[\d.]+$|:/.test(host)) checkAddress(host, guard);
      } catch (error) {
        return callback(error as Error, null);
      }
      connect(options, callback);
    },
  });

  return {
    async send({ id, body }, signal) {
      const at = new Date();
      const began = performance.now();
      let status: number | null = null;
      let error: string | null = null;
      let answer: string | null = null;
      let retryAfter: number | null = null;
      // By hand: AbortSignal.any and AbortSignal.timeout together cost a good part of what a request does.
      const over = new AbortController();
      const end = () => over.abort(signal.reason);
      if (signal.aborted) end();
      else signal.addEventListener("abort", end, { once: true });
      const timer = setTimeout(() => over.abort(new DOMException("no answer in time", "TimeoutError")), endpoint.timeout);
      try {
        const response = await request(checkUrl(endpoint.url, guard), {
          dispatcher: agent,
          method: "POST",
          headers: {
            ...endpoint.headers,
            "content-type": "application/json",
            "user-agent": "Sluice-Webhooks/1",
            ...signatureHeaders({ id, body, secrets: activeSecrets(endpoint), at }),
          },
          body,
          signal: over.signal,
        });
        status = response.statusCode;
        retryAfter = readRetryAfter(response.headers["retry-after"], at);
        answer = await readStart(response.body);
        if (status >= 300 && status < 400) error = "redirects are not followed";
      } catch (failure) {
        error = status === null ? reasonOf(failure, endpoint.timeout) : null;
      } finally {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
      }
      return { at, duration: Math.round(performance.now() - began), status, error, answer, retryAfter };
    },
    close: () => agent.destroy(),
  };
}

/**
 * The first KB of an answer, as text that Postgres accepts. An answer counts with its status, so one that never ends or
 * comes drop by drop is cut off: it costs its connection and nothing else.
 */
async function readStart(body: Dispatcher.ResponseData["body"]): Promise<string> {
  const kept: Buffer[] = [];
  let [length, read] = [0, 0];
  const timer = setTimeout(() => body.destroy(), ANSWER.patience);
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      read += chunk.length;
      if (length < ANSWER.kept) kept.push(chunk.subarray(0, ANSWER.kept - length));
      length = Math.min(ANSWER.kept, length + chunk.length);
      if (read > ANSWER.read) break;
    }
  } catch {
    // What came so far is what is kept.
  } finally {
    clearTimeout(timer);
    body.on("error", () => {}).destroy();
  }
  return Buffer.concat(kept).toString("utf8").replaceAll("\0", "\uFFFD");
}

/** Seconds or an HTTP date. */
function readRetryAfter(header: string | string[] | undefined, now: Date): number | null {
  if (typeof header !== "string") return null;
  const wait = /^\d{1,9}$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - now.getTime();
  return Number.isNaN(wait) ? null : Math.min(MAX_RETRY_AFTER, Math.max(0, wait));
}

function reasonOf(failure: unknown, timeout: number): string {
  if (failure instanceof Error && failure.name === "TimeoutError") return `no answer within ${timeout} ms`;
  return describe(failure).replaceAll("\0", "").slice(0, 500);
}
