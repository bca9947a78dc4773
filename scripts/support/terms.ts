/** The constructor's argument: see `Terms` in contracts/SluiceToken.sol. Amounts in the smallest unit, times in seconds. */
export interface Terms {
  name: string;
  symbol: string;
  cap: bigint;
  /** The zero address stands for the account that deploys. */
  admin: string;
  adminDelay: bigint;
  mintPeriod: bigint;
  grants: { amount: bigint; budget: bigint };
  mining: {
    reward: bigint;
    halvingInterval: bigint;
    retargetInterval: bigint;
    epochSeconds: bigint;
    target: bigint;
    minimumTarget: bigint;
    maximumTarget: bigint;
  };
}

const token = 10n ** 18n;

/**
 * The local demonstration: everything happens soon enough to be watched. A solution takes about 32 digests at first and
 * never more than about 4,096 (mine.ts finds them in an instant), the reward halves within minutes of demo traffic, and
 * the budget for grants is large enough that a long run still grants.
 */
export const demoTerms: Omit<Terms, "admin"> = {
  name: "Sluice",
  symbol: "SLC",
  cap: 1_000_000_000n * token,
  adminDelay: 60n,
  mintPeriod: 3_600n,
  grants: { amount: 100n * token, budget: 10_000_000n * token },
  mining: {
    reward: 50n * token,
    halvingInterval: 1_000n,
    retargetInterval: 16n,
    epochSeconds: 2n,
    target: 2n ** 251n,
    minimumTarget: 2n ** 244n,
    maximumTarget: 2n ** 253n,
  },
};

/** What the demonstration's minter may mint per `mintPeriod`. */
export const demoMintLimit = 50_000_000n * token;
