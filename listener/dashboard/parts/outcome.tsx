import type { Action } from "../core/action.ts";

/** What came of an action, said aloud too. */
export function Outcome({ of }: { of: Action<never> }) {
  const { said, error } = of.value;
  return (
    <output class={`outcome ${error ? "bad" : ""}`} aria-live="polite">
      {error ? error.message : said}
    </output>
  );
}
