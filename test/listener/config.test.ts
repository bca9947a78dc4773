import assert from "node:assert/strict";
import { resolve } from "node:path";
import { describe, it } from "node:test";
import { readConfig } from "../../listener/config.ts";
import { SluiceError } from "../../listener/errors.ts";

const mistakesOf = (environment: Record<string, string>): string => {
  try {
    readConfig(environment);
  } catch (error) {
    assert.ok(error instanceof SluiceError);
    return error.message;
  }
  throw new Error("no mistake was found");
};

describe("config", () => {
  it("needs nothing: every setting has a default", () => {
    const config = readConfig({});
    assert.deepEqual(
      { ...config, dataDir: "", deployment: "" },
      {
        rpcUrls: [],
        databaseUrl: undefined,
        redisUrl: undefined,
        deployment: "",
        finality: undefined,
        host: "127.0.0.1",
        port: 3000,
        apiKeys: [],
        allowedHosts: [],
        corsOrigins: [],
        trustedProxies: [],
        rateLimit: 6000,
        graphqlExplorer: undefined,
        dataDir: "",
        logLevel: "info",
        verify: "bloom",
        pollInterval: 1000,
        lease: 9000,
        window: 1000,
        prepare: true,
        webhooksAllowLoopback: false,
        maxLag: 10,
        retention: undefined,
      },
    );
    assert.equal(config.deployment, resolve(".sluice/deployment.json"));
  });

  it("reads several URLs, whatever the spaces between them", () => {
    const { rpcUrls } = readConfig({ RPC_URL: " http://a.example:8545 ,wss://b.example/ws,, " });
    assert.deepEqual(rpcUrls, ["http://a.example:8545", "wss://b.example/ws"]);
  });

  it("takes an empty variable for one that is not set", () => {
    assert.equal(readConfig({ PORT: "", DATABASE_URL: "  " }).port, 3000);
    assert.equal(readConfig({ DATABASE_URL: "  " }).databaseUrl, undefined);
  });

  it("looks for the deployment in the data directory", () => {
    assert.equal(readConfig({ DATA_DIR: "/data" }).deployment, "/data/deployment.json");
    assert.equal(readConfig({ DATA_DIR: "/data", DEPLOYMENT: "/other.json" }).deployment, "/other.json");
  });

  for (const [given, finality] of [
    ["finalized", "finalized"],
    ["safe", "safe"],
    ["0", 0],
    ["64", 64],
  ] as const) {
    it(`reads FINALITY=${given}`, () => assert.equal(readConfig({ FINALITY: given }).finality, finality));
  }

  it("reports every mistake at once, each with its name, what was given and what is expected", () => {
    const wrong: Record<string, string> = {
      RPC_URL: "ftp://node",
      DATABASE_URL: "mysql://db",
      REDIS_URL: "localhost:6379",
      FINALITY: "latest",
      HOST: "not a host",
      PORT: "65536",
      API_KEYS: "short",
      LOG_LEVEL: "loud",
      VERIFY: "maybe",
      POLL_INTERVAL_MS: "0",
      LEASE_MS: "10",
      WINDOW: "-1",
      MAX_LAG: "1e3",
      RETENTION: "30 days",
    };
    const text = mistakesOf(wrong);
    for (const [name, given] of Object.entries(wrong)) {
      assert.match(text, new RegExp(`${name}: given .+, expected .+`));
      if (!["RPC_URL", "DATABASE_URL", "REDIS_URL", "API_KEYS"].includes(name)) assert.ok(text.includes(JSON.stringify(given)), name);
    }
    assert.match(text, /14 mistakes/);
  });

  it("never shows what may hold a secret", () => {
    const text = mistakesOf({
      RPC_URL: "htps://node.example/v3/hunter2",
      DATABASE_URL: "sluice:hunter2@db.example",
      REDIS_URL: "rediss//:hunter2@cache.example",
      API_KEYS: "hunter2",
    });
    assert.doesNotMatch(text, /hunter2/);
  });

  it("takes no number with a sign, an exponent, a fraction or too many digits", () => {
    for (const PORT of ["+1", "1e3", "80.5", "0x50", "99999999999999999999", "eighty"]) mistakesOf({ PORT });
  });

  it("keeps done deliveries for ever, or for as long as it is told", () => {
    assert.equal(readConfig({}).retention, undefined);
    assert.equal(readConfig({ RETENTION: "forever" }).retention, undefined);
    assert.equal(readConfig({ RETENTION: "30d" }).retention, 30 * 86_400_000);
    assert.equal(readConfig({ RETENTION: "90m" }).retention, 90 * 60_000);
    for (const RETENTION of ["0d", "30", "1w", "-1d", "1.5h", "d"]) assert.match(mistakesOf({ RETENTION }), /12h or 30d/);
  });

  it("cannot be changed afterwards", () => {
    assert.throws(() => {
      (readConfig({}) as { port: number }).port = 1;
    }, TypeError);
  });
});
