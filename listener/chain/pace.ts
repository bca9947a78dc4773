/** Requests a second of a URL that never limited us: as good as no limit. */
const UNLIMITED = 1_000;
/** Of the rate at which a node refused, what is tried next; and what is added in every `RECOVERY` ms without a refusal. */
const BACK_OFF = 0.7;
const RECOVERY = 5_000;
const GROWTH = 1.15;
/**
 * No rate below this is learned: who was asked so seldom and refused had another reason, such as a plan that is used up, and
 * the rests after each refusal do for that. A pace that low would take minutes to come back.
 */
const LEAST = 5;
/** Refusals within this time (ms) are one: those that were on their way already say nothing new. */
const ONE_REFUSAL = 1_000;

/**
 * How fast a URL may be asked, learned from its refusals: each brings the rate below the one it was refused at, and time
 * without one brings it back, for plans change and a limit may be shared. Times are of `Date.now()`.
 */
export function createPace() {
  let rate = UNLIMITED;
  let next = 0;
  let changed = 0;
  const recent: number[] = [];

  const recover = (now: number) => {
    for (; rate < UNLIMITED && now - changed >= RECOVERY; changed += RECOVERY) rate = Math.min(UNLIMITED, rate * GROWTH);
  };

  return {
    /** When the next request may go out. */
    readyAt: () => next,
    /** A request goes out now. */
    take(now: number) {
      recover(now);
      recent.push(now);
      while (recent.length > UNLIMITED || recent[0]! <= now - 1_000) recent.shift();
      if (rate < UNLIMITED) next = Math.max(now, next) + 1_000 / rate;
    },
    /** The node said that it was too much. */
    limited(now: number) {
      if (now - changed < ONE_REFUSAL && rate < UNLIMITED) return;
      const asked = recent.filter(at => at > now - 1_000).length;
      rate = Math.max(LEAST, Math.min(rate, asked) * BACK_OFF);
      changed = now;
    },
    /** Requests a second, null where no limit is known. */
    limit: () => (rate < UNLIMITED ? Math.round(rate * 10) / 10 : null),
  };
}
