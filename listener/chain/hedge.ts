/** Answers of a method that its usual time is taken from, and how many it takes at least. */
const WINDOW = 100;
const ENOUGH = 10;
/** How long a call takes before a second URL is asked: the time that 95 of 100 stay below, within these bounds (ms). */
const SHARE = 0.95;
const SOONEST = 50;
const LATEST = 5_000;
const UNKNOWN = 1_000;
/** Of all calls, how many may be asked twice, and how many at once after a quiet time: a slow day must not double the load. */
const EXTRA = 0.1;
const BURST = 5;

/** When a call is slow enough that a second URL is asked as well, by what the same method took before. */
export function createHedging() {
  const took = new Map<string, number[]>();
  let budget = BURST;
  return {
    /** A call was answered after so many milliseconds. */
    answered(method: string, ms: number) {
      const times = took.get(method) ?? [];
      took.set(method, times);
      times.push(ms);
      if (times.length > WINDOW) times.shift();
      budget = Math.min(BURST, budget + EXTRA);
    },
    /** After how many milliseconds a call of this method is slow. */
    delay(method: string): number {
      const times = took.get(method) ?? [];
      if (times.length < ENOUGH) return UNKNOWN;
      const slow = times.toSorted((a, b) => a - b)[Math.floor(times.length * SHARE)]!;
      return Math.min(LATEST, Math.max(SOONEST, slow * 1.5));
    },
    /** Whether one more call may be asked twice. */
    afford(): boolean {
      if (budget < 1) return false;
      budget -= 1;
      return true;
    },
  };
}
