import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { noAnvil } from "../support/anvil.ts";
import { sluice } from "../support/processes.ts";
import { noRedisServer } from "../support/redis.ts";
import { startRedisServer } from "../support/redis-server.ts";
import { openWorld } from "../support/world.ts";

type Finding = { check: string; ok: boolean; detail: string; hint?: string };

describe("doctor", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "sluice-doctor-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const examine = async (environment: NodeJS.ProcessEnv) => {
    const doctor = sluice("doctor --json", { DATA_DIR: folder, PORT: "0", ...environment });
    const { code } = await doctor.exited;
    const findings = JSON.parse(doctor.stdout()) as Finding[];
    return { code, findings, bad: new Map(findings.filter(({ ok }) => !ok).map(finding => [finding.check, finding])) };
  };

  it("finds nothing wrong where nothing is", { skip: noAnvil }, async () => {
    const world = await openWorld({ redis: false });
    try {
      const { code, bad, findings } = await examine(world.environment);
      assert.deepEqual([...bad.values()], []);
      assert.equal(code, 0);
      assert.ok(findings.some(({ check }) => check === "Hardhat's binding"));
    } finally {
      await world.close();
    }
  });

  it("says every mistake of the configuration, and what to do", async () => {
    const { code, bad } = await examine({ PORT: "99999", LOG_LEVEL: "loud" });
    assert.equal(code, 1);
    assert.match(bad.get("configuration")!.detail, /PORT.*LOG_LEVEL/);
    assert.ok(bad.get("configuration")!.hint);
  });

  it("names a missing and a broken deployment, a silent node, a taken port, a database that is away", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise(resolve => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    try {
      const missing = await examine({
        RPC_URL: "http://127.0.0.1:1",
        PORT: String(port),
        DATABASE_URL: "postgres://nobody@127.0.0.1:1/none",
      });
      assert.equal(missing.code, 1);
      for (const check of ["Postgres", "deployment", "node", "port"]) assert.ok(missing.bad.get(check)?.hint, check);

      writeFileSync(join(folder, "deployment.json"), '{"chainId": 0, "contracts": {"SluiceToken": {"address": "0x1", "block": -1}}}');
      const broken = await examine({});
      assert.match(broken.bad.get("deployment")!.detail, /chainId.*address.*block/);
    } finally {
      server.close();
    }
  });

  it("names a chain without the deployment's code", { skip: noAnvil }, async () => {
    const world = await openWorld({ redis: false });
    try {
      const elsewhere = { chainId: 31337, contracts: { SluiceToken: { address: `0x${"12".repeat(20)}`, block: 1 } } };
      writeFileSync(join(folder, "deployment.json"), JSON.stringify(elsewhere));
      const { bad } = await examine({ ...world.environment, DEPLOYMENT: join(folder, "deployment.json") });
      assert.match(bad.get("node")!.detail, /there is no code/);
    } finally {
      await world.close();
    }
  });

  it("names a Redis that would evict jobs", { skip: noRedisServer }, async () => {
    const redis = await startRedisServer({ "maxmemory-policy": "allkeys-lru" });
    try {
      const { bad } = await examine({ REDIS_URL: redis.url });
      assert.match(bad.get("Redis")!.hint!, /noeviction/);
    } finally {
      await redis.remove();
    }
  });

  it("names a schema that lacks a migration", { skip: noAnvil }, async () => {
    const world = await openWorld({ redis: false });
    try {
      await world.query("create schema sluice; create table sluice.migrations (name text primary key, at timestamptz default now())");
      await world.query("insert into sluice.migrations values ('journal-1')");
      const { bad } = await examine(world.environment);
      assert.match(bad.get("schema")!.detail, /balances-1/);
    } finally {
      await world.close();
    }
  });
});
