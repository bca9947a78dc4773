import { sleep } from "../db.ts";

/** A subscription may die without a word (Hardhat's do after five minutes), so it is renewed before that. */
const RENEW = 240_000;
const FIRST_DELAY = 100;
const MAX_DELAY = 10_000;
/** A connection that lived for so long was a good one: the next is opened without much ado. */
const STABLE = 10_000;

/**
 * Calls `wake` for every head that one of these WebSocket URLs announces, and at every change of the connection, until the
 * signal aborts. A connection that ends early is followed by the next URL's after a growing, jittered time, also where it
 * had opened: a node may take one only to close it.
 */
export async function subscribeToHeads(urls: readonly string[], wake: () => void, signal: AbortSignal): Promise<void> {
  for (let delay = FIRST_DELAY, attempt = 0; !signal.aborted; attempt++) {
    const began = Date.now();
    await follow(urls[attempt % urls.length]!, wake, signal);
    wake();
    if (Date.now() - began >= STABLE) delay = FIRST_DELAY;
    await sleep(delay * (0.5 + Math.random() / 2), signal);
    delay = Math.min(delay * 2, MAX_DELAY);
  }
}

/** One connection, to its end. */
async function follow(url: string, wake: () => void, signal: AbortSignal): Promise<void> {
  const socket = new WebSocket(url);
  const closed = new Promise<void>(resolve => {
    socket.onclose = () => resolve();
  });
  socket.onerror = () => {};
  socket.onopen = () => socket.send(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_subscribe", params: ["newHeads"] }));
  socket.onmessage = ({ data }) => {
    if (String(data).includes("eth_subscription")) wake();
  };
  const stop = () => socket.close();
  const renewal = setTimeout(stop, RENEW);
  signal.addEventListener("abort", stop, { once: true });
  await closed;
  clearTimeout(renewal);
  signal.removeEventListener("abort", stop);
}
