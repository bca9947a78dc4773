import type { FaultRun } from "./row.ts";

/**
 * A fault, how often it happens in CI and before a release, and what makes it happen. `virtual`: its time is no clock's, so
 * it never waits, and loses nothing where it gets the processor late.
 */
export type Row = { name: string; ci: number; release: number; virtual?: true; load: () => Promise<FaultRun> };

export const rows: readonly Row[] = [
  { name: "kill", ci: 150, release: 1_000, load: async () => (await import("./kills.ts")).run },
  { name: "stopped-leader", ci: 10, release: 50, load: async () => (await import("./leader.ts")).stopped },
  { name: "partitioned-leader", ci: 3, release: 20, load: async () => (await import("./leader.ts")).partitioned },
  { name: "redis-killed", ci: 10, release: 60, load: async () => (await import("./redis.ts")).killed },
  { name: "redis-flushed", ci: 3, release: 20, load: async () => (await import("./redis.ts")).flushed },
  { name: "redis-lost-tail", ci: 2, release: 20, load: async () => (await import("./redis.ts")).lostTail },
  { name: "redis-full", ci: 2, release: 10, load: async () => (await import("./redis.ts")).full },
  { name: "postgres-backend", ci: 50, release: 500, load: async () => (await import("./postgres.ts")).backendKilled },
  { name: "postgres-restart", ci: 3, release: 20, load: async () => (await import("./postgres.ts")).restarted },
  { name: "postgres-reply", ci: 100, release: 1_000, load: async () => (await import("./postgres.ts")).replyLost },
  { name: "reorg-anvil", ci: 64, release: 640, load: async () => (await import("./reorgs.ts")).onAnvil },
  { name: "reorg-hardhat", ci: 5, release: 50, load: async () => (await import("./reorgs.ts")).onHardhat },
  { name: "bad-replies", ci: 2_000, release: 50_000, load: async () => (await import("../simulation/bad-replies.ts")).run },
  { name: "lying-receipts", ci: 100, release: 2_000, load: async () => (await import("../simulation/lying.ts")).inReceipts },
  { name: "lying-bloom", ci: 100, release: 2_000, load: async () => (await import("../simulation/lying.ts")).inBloom },
  { name: "back-and-forth", ci: 50, release: 500, virtual: true, load: async () => (await import("../simulation/back-and-forth.ts")).run },
  { name: "bad-inputs", ci: 500, release: 10_000, virtual: true, load: async () => (await import("../simulation/bad-inputs.ts")).run },
  { name: "simulation", ci: 200, release: 5_000, virtual: true, load: async () => (await import("../simulation/seeds.ts")).run },
];
