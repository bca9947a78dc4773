import type { Timing } from "../../../listener/webhooks/timing.ts";

/** Two days in a minute. */
export const FAST: Timing = {
  retries: [20, 40, 80],
  giveUpAfter: 60_000,
  tripAfter: 1_000,
  probes: [20, 50, 100],
  // Longer than a busy machine stands still: who loses it sends again what was sent.
  lease: 15_000,
  turn: 2_000,
};
