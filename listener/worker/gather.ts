/** Calls that share a round trip at most. */
const TOGETHER = 500;

type Call<V> = { key: number; resolve(value: V | undefined): void; reject(error: unknown): void };

/**
 * Calls by key that share their round trips: those that come in one turn of the event loop, or while a round trip is under
 * way, are answered by one `run`. A lone call goes out at once.
 *
 * Of two calls with the same key one is answered, and the other gets nothing. Where `run` fails for several keys each is
 * tried by itself, so that nobody pays for another one's fault.
 *
 * @param run what is found for some of the keys
 */
export function createGather<V>(run: (keys: number[]) => Promise<Map<number, V>>): (key: number) => Promise<V | undefined> {
  let waiting: Call<V>[] = [];
  let busy = false;

  function schedule(): void {
    if (busy || waiting.length === 0) return;
    busy = true;
    setImmediate(() => {
      const calls = waiting.slice(0, TOGETHER);
      waiting = waiting.slice(TOGETHER);
      void answer(calls).finally(() => {
        busy = false;
        schedule();
      });
    });
  }

  async function answer(calls: readonly Call<V>[]): Promise<void> {
    try {
      const found = await run([...new Set(calls.map(({ key }) => key))]);
      for (const { key, resolve } of calls) {
        resolve(found.get(key));
        found.delete(key);
      }
    } catch (error) {
      if (calls.length === 1) calls[0]!.reject(error);
      else await Promise.all(calls.map(call => answer([call])));
    }
  }

  return key =>
    new Promise((resolve, reject) => {
      waiting.push({ key, resolve, reject });
      schedule();
    });
}
