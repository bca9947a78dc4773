/** When what is tried again. All in milliseconds. */
export type Timing = {
  /** Waits after a message's first, second, … failure; the last one again and again. */
  retries: readonly number[];
  /** After this time from its first attempt a failing message becomes a dead letter. */
  giveUpAfter: number;
  /** Failures in a row after which an endpoint is left alone but for one message now and then. */
  tripAfter: number;
  /** Waits before such a message. */
  probes: readonly number[];
  /** How long a worker holds an endpoint without a sign of life. */
  lease: number;
  /** How long a worker stays with one endpoint before the others have their chance. */
  turn: number;
};

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** The first waits are short, so that a receiver which is down is known to be before its messages are put off for long. */
export const TIMING: Timing = {
  retries: [1_000, 2_000, 5_000, 15_000, MINUTE, 5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 6 * HOUR],
  giveUpAfter: 48 * HOUR,
  tripAfter: 5,
  probes: [1_000, 2_000, 5_000, 10_000, 30_000, MINUTE],
  lease: 6_000,
  turn: 10_000,
};

/** The wait after the n-th time, from 1; a fifth more or less by chance, so that what failed together does not come back together. */
export const waitAfter = (waits: readonly number[], n: number): number =>
  Math.round(waits[Math.min(Math.max(n, 1), waits.length) - 1]! * (0.8 + Math.random() * 0.4));
