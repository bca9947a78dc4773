/**
 * Waits until `predicate` gives something true, and gives that. What it throws on the way counts as "not yet" and is the
 * cause of the error at the end.
 *
 * @param options.timeout milliseconds; 15 s unless told
 * @param options.what said in the error
 */
export async function eventually<T>(
  predicate: () => T | Promise<T>,
  options: { timeout?: number; what?: string | (() => unknown) } = {},
): Promise<NonNullable<T>> {
  const deadline = Date.now() + (options.timeout ?? 15_000);
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
      throw new Error(`this did not come true in ${options.timeout ?? 15_000} ms: ${what}`, { cause });
    }
    await new Promise(resolve => setTimeout(resolve, pause));
  }
}
