import { once } from "node:events";
import { PassThrough, type Writable } from "node:stream";

/**
 * What one reader may cost: bytes that wait for it, milliseconds until they must have gone. `buffer` is for subscriptions; for
 * a reader of the stream it is its socket's own, which is as large.
 */
export type StreamLimits = { buffer: number; patience: number };
export const STREAM_LIMITS: StreamLimits = { buffer: 64 * 1024, patience: 10_000 };

/** Milliseconds that a dropped reader has to hear why. */
const FAREWELL = 1_000;
/** A comment in the terms of server-sent events. */
export const DROPPED = ": dropped: what was sent was not taken in time; come back with the last id\n\n";

/** Whether the reader took what waited for it, in time. */
export async function drained(out: Writable, patience: number): Promise<boolean> {
  if (out.destroyed || out.writableEnded) return false;
  const over = AbortSignal.timeout(patience);
  const waited = new AbortController();
  const signal = AbortSignal.any([over, waited.signal]);
  await Promise.race([once(out, "drain", { signal }), once(out, "close", { signal })]).catch(() => {});
  waited.abort();
  return !over.aborted && !out.destroyed;
}

/** Ends a stream, and cuts it off where the reader does not take that either. */
export function part(out: Writable, text?: string): void {
  if (!out.writableEnded && !out.destroyed) out.end(text);
  if (out.closed) return;
  const timer = setTimeout(() => out.destroy(), FAREWELL);
  out.once("close", () => clearTimeout(timer));
}

/** What `body` gives, for as long as the reader takes it in time. What makes the body is told when nobody reads any more. */
export function patiently(body: ReadableStream<Uint8Array>, { buffer, patience }: StreamLimits, onSlow: () => void): PassThrough {
  const out = new PassThrough({ highWaterMark: buffer });
  const reader = body.getReader();
  const cancel = () => void reader.cancel().catch(() => {});
  out.once("close", cancel);
  const pass = async () => {
    for (;;) {
      const { value, done } = await reader.read();
      if (done || out.destroyed) return part(out);
      if (out.write(value) || (await drained(out, patience))) continue;
      if (out.destroyed) return;
      onSlow();
      cancel();
      return part(out, DROPPED);
    }
  };
  pass().catch(error => out.destroy(error as Error));
  return out;
}
