import { type Action, useAction } from "../core/action.ts";
import { send } from "../core/api.ts";
import { plural } from "../core/format.ts";

export type Chosen = { queue: string; position?: number } | { all: true };

/** Tries dead letters again, and then reads the list again. */
export const useRetry = (then: () => void): Action<Chosen> =>
  useAction(async (chosen: Chosen) => {
    const { count } = await send<{ count: number }>("POST", "dead-letters/retry", chosen);
    then();
    return `${plural(count, "dead letter")} sent again.`;
  });
