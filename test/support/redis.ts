import { findRedisServer } from "./redis-server.ts";

/** The suite's Redis. Tests share it: each takes a chain id of its own, and none flushes it. */
export const sharedRedis = process.env.SLUICE_TEST_REDIS_URL;

/** Why tests of the shared Redis are skipped, or false. */
export const noSharedRedis = sharedRedis ? false : "SLUICE_TEST_REDIS_URL is not set (run `npm test`, or start a Redis)";

/** Why tests that start a Redis of their own are skipped, or false. */
export const noRedisServer = findRedisServer() ? false : "redis-server is not installed";
