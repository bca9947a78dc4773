import { type ReadonlySignal, signal } from "@preact/signals";
import { useMemo } from "preact/hooks";

export type Action<Given> = ReadonlySignal<{ busy: boolean; said?: string; error?: Error }> & { run(given: Given): void };

/** Something that a person sets off: one at a time, and what came of it. `work` gives what is said when it is done. */
export function useAction<Given = void>(work: (given: Given) => Promise<string>): Action<Given> {
  return useMemo(() => {
    const state = signal<{ busy: boolean; said?: string; error?: Error }>({ busy: false });
    const run = async (given: Given) => {
      if (state.peek().busy) return;
      state.value = { busy: true };
      state.value = await work(given).then(
        said => ({ busy: false, said }),
        (error: Error) => ({ busy: false, error }),
      );
    };
    return Object.assign(state, { run: (given: Given) => void run(given) });
  }, []);
}
