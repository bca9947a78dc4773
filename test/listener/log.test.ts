import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { createLog, createOutage, createThrottle } from "../../listener/log.ts";
import { redactUrl } from "../../listener/redact.ts";

describe("log", () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-log-"));
  after(() => rmSync(folder, { recursive: true, force: true }));

  const written = (name: string, write: (log: ReturnType<typeof createLog>) => void) => {
    const file = join(folder, name, "log.json");
    write(createLog("debug", file));
    return readFileSync(file, "utf8");
  };

  it("writes one JSON object a line, into a folder that it makes", () => {
    const lines = written("lines", log => {
      log.info({ block: 7 }, "first");
      log.debug("second");
    }).trim();
    const parsed = lines.split("\n").map(line => JSON.parse(line) as Record<string, unknown>);
    assert.deepEqual(
      parsed.map(({ msg, block }) => [msg, block]),
      [
        ["first", 7],
        ["second", undefined],
      ],
    );
  });

  for (const key of ["password", "secret", "apiKey", "apiKeys", "authorization", "connectionString"]) {
    it(`never writes what is logged as ${key}`, () => {
      assert.doesNotMatch(
        written(key, log => log.info({ [key]: "hunter2" }, "said")),
        /hunter2/,
      );
    });
  }

  for (const key of ["password", "secret", "authorization"]) {
    it(`never writes a ${key} one level down`, () => {
      assert.doesNotMatch(
        written(`nested-${key}`, log => log.info({ options: { [key]: "hunter2" } }, "said")),
        /hunter2/,
      );
    });
  }

  const urls: [string, string][] = [
    ["https://user:hunter2@node.example/rpc", "https://***@node.example/rpc"],
    ["https://mainnet.infura.io/v3/0123456789abcdef0123456789abcdef", "https://mainnet.infura.io/v3/***"],
    ["wss://node.example/ws?apikey=hunter2", "wss://node.example/ws?***"],
    ["postgres://sluice:hunter2@db.example:5432/sluice_production", "postgres://***@db.example:5432/sluice_production"],
    ["redis://:hunter2@cache.example:6379/0", "redis://***@cache.example:6379/0"],
    ["http://127.0.0.1:8545", "http://127.0.0.1:8545/"],
    ["hunter2", "(not a URL)"],
  ];
  for (const [given, shown] of urls) {
    it(`shows ${shown}`, () => assert.equal(redactUrl(given), shown));
  }

  it("says an outage once when it begins and once when it ends", () => {
    const lines = written("outage", log => {
      const outage = createOutage(log, "node");
      outage.ends();
      for (let i = 0; i < 100; i++) outage.begins("refused");
      outage.ends();
      outage.ends();
    });
    assert.deepEqual(
      lines
        .trim()
        .split("\n")
        .map(line => JSON.parse(line).msg),
      ["node: refused; waiting", "node: back"],
    );
  });

  it("passes a repeated text on once, and another one at once", () => {
    const passed: string[] = [];
    const throttle = createThrottle(60_000, text => passed.push(text));
    for (const text of ["a", "a", "b", "a"]) throttle(text);
    assert.deepEqual(passed, ["a", "b"]);
  });
});
