import assert from "node:assert/strict";
import { test } from "node:test";
import { redactUrl, redactUrls } from "../../listener/redact.ts";
import { parseRedisUrl } from "../../listener/redis-url.ts";

const host = (name: string, port: number) => ({ host: name, port });
const none = { tls: false, username: undefined, password: undefined, database: 0, master: undefined };

const good: [string, object][] = [
  ["redis://127.0.0.1", { ...none, kind: "single", hosts: [host("127.0.0.1", 6379)] }],
  ["redis://cache:6380/3", { ...none, kind: "single", hosts: [host("cache", 6380)], database: 3 }],
  ["rediss://me:p%40ss@cache", { ...none, kind: "single", hosts: [host("cache", 6379)], tls: true, username: "me", password: "p@ss" }],
  ["redis://:secret@[::1]:7000", { ...none, kind: "single", hosts: [host("::1", 7000)], password: "secret" }],
  ["redis+cluster://a:1,b:2,c", { ...none, kind: "cluster", hosts: [host("a", 1), host("b", 2), host("c", 6379)] }],
  ["rediss+cluster://:x@a:1", { ...none, kind: "cluster", hosts: [host("a", 1)], tls: true, password: "x" }],
  ["redis+sentinel://a,b:2/mymaster", { ...none, kind: "sentinel", hosts: [host("a", 26379), host("b", 2)], master: "mymaster" }],
  ["redis+sentinel://a:1/m/2", { ...none, kind: "sentinel", hosts: [host("a", 1)], master: "m", database: 2 }],
];
for (const [url, expected] of good) test(`reads ${url}`, () => assert.deepEqual(parseRedisUrl(url), expected));

const bad = [
  "redis:cache",
  "http://cache",
  "redis://",
  "redis://a,b",
  "redis://a/name",
  "redis://a/1/2",
  "redis://a:port",
  "redis+cluster://a/1",
  "redis+sentinel://a",
  "redis+other://a",
];
for (const url of bad) test(`refuses ${url}`, () => assert.throws(() => parseRedisUrl(url)));

test("hides the password of each form", () => {
  assert.equal(redactUrl("redis+cluster://:hunter2@a:1,b:2"), "redis+cluster://***@a:1,b:2");
  assert.equal(redactUrls("lost rediss+sentinel://u:hunter2@a:1,b:2/m, again"), "lost rediss+sentinel://***@a:1,b:2/m, again");
});
