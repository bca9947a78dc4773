/** How long a test waits for what must come (ms): far longer than it takes, for the machine may be busy. Who waits for it loses nothing. */
const PATIENCE = 30_000;

/**
 * Waits until `predicate` gives something true, and gives that. What it throws on the way counts as "not yet" and is the
 * cause of the error at the end.
 *
 * @param options.timeout milliseconds; 30 s unless told
 * @param options.what said in the error
 */
export async function eventually<T>(
  predicate: () => T | Promise<T>,
  options: { timeout?: number; what?: string | (() => unknown) } = {},
): Promise<NonNullable<T>> {
  const { timeout = PATIENCE } = options;
  const deadline = Date.now() + timeout;
  let cause: unknown;
  for (let pause = 2; ; pause = Math.min(pause * 1.5, 100)) {
    try {
      const result = await predicate();
      if (result) return result;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (Date.now() > deadline) {
      const what = typeof options.what === "function" ? JSON.stringify(options.what()) : (options.what ?? predicate.toString());
      throw new Error(`this did not come true in ${timeout} ms: ${what}`, { cause });
    }
    await new Promise(resolve => setTimeout(resolve, pause));
  }
}
