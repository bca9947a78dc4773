import { type Signal, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { ask } from "./api.ts";

export type Fetched<Answer> = { data?: Answer; error?: Error; loading: boolean };

/**
 * What the API answers to `path`, asked again every `every` milliseconds while the page is visible. An answer that came
 * stays while the next one is fetched, and while the API does not answer.
 */
export function useFetched<Answer>(
  path: string | undefined,
  { every }: { every?: number } = {},
): Signal<Fetched<Answer>> & { again(): void } {
  const state = useMemo(() => {
    const current = signal<Fetched<Answer>>({ loading: path !== undefined });
    let asked = 0;
    const again = async () => {
      if (path === undefined) return;
      const mine = ++asked;
      try {
        const data = await ask<Answer>(path);
        if (mine === asked) current.value = { data, loading: false };
      } catch (error) {
        if (mine === asked) current.value = { ...current.value, error: error as Error, loading: false };
      }
    };
    return Object.assign(current, { again: () => void again() });
  }, [path]);
  useEffect(() => {
    state.again();
    if (every === undefined) return;
    const timer = setInterval(() => document.visibilityState === "visible" && state.again(), every);
    return () => clearInterval(timer);
  }, [state, every]);
  return state;
}
