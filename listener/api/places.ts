import { HttpProblem } from "./problem.ts";

/** Streams that may be open at one time. */
export type Places = {
  /**
   * Takes a place; the result gives it back.
   *
   * @throws HttpProblem 503 where none is left
   */
  take(): () => void;
};

export function createPlaces(limit: number): Places {
  let taken = 0;
  return {
    take() {
      if (taken >= limit) {
        throw new HttpProblem(503, `${limit} streams are open, and no more are allowed here`, { headers: { "retry-after": "5" } });
      }
      taken += 1;
      let given = false;
      return () => {
        if (!given) taken -= 1;
        given = true;
      };
    },
  };
}
