import type { Timing } from "../../../listener/webhooks/timing.ts";

/** Two days in a minute. */
export const FAST: Timing = {
  retries: [20, 40, 80],
  giveUpAfter: 60_000,
  tripAfter: 1_000,
  probes: [20, 50, 100],
  lease: 1_500,
  turn: 2_000,
};
