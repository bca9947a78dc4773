import { type ReadonlySignal, signal } from "@preact/signals";
import { useMemo, useRef } from "preact/hooks";
import { sessionKnown } from "./session.ts";

export type Action<Given> = ReadonlySignal<{ busy: boolean; said?: string; error?: Error }> & { run(given: Given): void };

/**
 * Something that a person sets off: one at a time, not before the page has its session, and what came of it. `work` gives
 * what is said when it is done; it is that of the last time the page was drawn.
 */
export function useAction<Given = void>(work: (given: Given) => Promise<string>): Action<Given> {
  const latest = useRef(work);
  latest.current = work;
  return useMemo(() => {
    const state = signal<{ busy: boolean; said?: string; error?: Error }>({ busy: false });
    const run = async (given: Given) => {
      if (state.peek().busy) return;
      state.value = { busy: true };
      await sessionKnown();
      state.value = await latest.current(given).then(
        said => ({ busy: false, said }),
        (error: Error) => ({ busy: false, error }),
      );
    };
    return Object.assign(state, { run: (given: Given) => void run(given) });
  }, []);
}
