import { sleep } from "../db.ts";

/** At most this often a status is sent, where it changed (ms). */
const CHANGED = 500;
/** At least this often one is sent, so that silence means that something is wrong (ms). */
const HEARTBEAT = 1_500;
/** How much longer than the last look took is waited before the next: a look that is dear is taken less often. */
const EASE = 5;

export type StatusTicker = {
  /** Calls `listener` with the text of each status from now on, the first one at once. The result stops it. */
  subscribe(listener: (status: string) => void): () => void;
};

/**
 * One look at the status for everybody who watches it, for as long as somebody does.
 *
 * @param read the status as text. Where it fails nothing is sent: whoever watches sees the silence
 */
export function createStatusTicker(read: () => Promise<string>): StatusTicker {
  const listeners = new Set<(status: string) => void>();
  let latest: string | undefined;
  let sentAt = 0;
  let stopping: AbortController | undefined;

  async function tick(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const began = performance.now();
      const status = await read().catch(() => undefined);
      if (signal.aborted) return;
      const due = status !== latest || performance.now() - sentAt >= HEARTBEAT;
      latest = status;
      if (status !== undefined && due) {
        sentAt = performance.now();
        for (const listener of listeners) listener(status);
      }
      await sleep(Math.max(CHANGED, EASE * (performance.now() - began)), signal);
    }
  }

  return {
    subscribe(listener) {
      listeners.add(listener);
      if (stopping && latest !== undefined) listener(latest);
      if (!stopping) {
        stopping = new AbortController();
        void tick(stopping.signal);
      }
      return () => {
        listeners.delete(listener);
        if (listeners.size > 0) return;
        stopping?.abort();
        stopping = undefined;
        latest = undefined;
      };
    },
  };
}
