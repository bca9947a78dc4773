import { type Db, sleep } from "../db.ts";

/** How long a turn stays when nothing is due, and how often is looked (ms). */
const STAY = 1_000;
const LOOK_EVERY = 20;
/** Turns that stay at a time: each takes one of a process's places, and others may want it. */
const AT_ONCE = 50;

export type Lingering = {
  /** Waits a little until this endpoint has something due; false where nothing came, or where too many wait already. */
  isDue(endpoint: string, signal: AbortSignal): Promise<boolean>;
};

/** Turns that have nothing to do for the moment: one statement looks for all of them, however many they are. */
export function createLingering(db: Db, chainId: number): Lingering {
  const waiting = new Map<string, (due: boolean) => void>();
  let looking = false;

  async function look(): Promise<void> {
    looking = true;
    try {
      while (waiting.size > 0) {
        await sleep(LOOK_EVERY);
        const { rows } = await db.query<{ endpoint: string }>(
          `select endpoint from unnest($2::text[]) as e (endpoint) where exists (
             select from webhook_messages m where m.chain_id = $1 and m.endpoint = e.endpoint and m.state = 'pending' and m.next_at <= now())`,
          [chainId, [...waiting.keys()]],
        );
        for (const { endpoint } of rows) waiting.get(endpoint)?.(true);
      }
    } catch {
      // The turns end, and are asked for again.
      for (const answer of [...waiting.values()]) answer(false);
    } finally {
      looking = false;
    }
  }

  return {
    isDue(endpoint, signal) {
      if (signal.aborted || waiting.size >= AT_ONCE || waiting.has(endpoint)) return Promise.resolve(false);
      return new Promise(resolve => {
        const answer = (due: boolean) => {
          clearTimeout(timer);
          signal.removeEventListener("abort", leave);
          waiting.delete(endpoint);
          resolve(due);
        };
        const leave = () => answer(false);
        const timer = setTimeout(leave, STAY);
        signal.addEventListener("abort", leave, { once: true });
        waiting.set(endpoint, answer);
        if (!looking) void look();
      });
    },
  };
}
