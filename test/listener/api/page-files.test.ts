import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import Fastify, { type FastifyInstance } from "fastify";
import { servePage } from "../../../listener/api/page-files.ts";
import { buildPage } from "../../../listener/embedded/build.ts";

const DIST = "listener/dashboard/dist";
/** Bytes of the whole page, compressed. */
const BUDGET = 40 * 1_024;

describe("the page's files", () => {
  let server: FastifyInstance;
  before(async () => {
    await buildPage();
    server = Fastify();
    await servePage(server);
  });
  after(() => server.close());

  const named = () => {
    const html = readFileSync(join(DIST, "index.html"), "utf8");
    return [...html.matchAll(/(?:src|href)="\.?\/?([^"]+)"/g)].map(([, path]) => path!);
  };

  it("serves the page under a policy that lets in nothing inline and nobody else", async () => {
    const { statusCode, headers, body } = await server.inject("/");
    assert.equal(statusCode, 200);
    assert.match(headers["content-type"] as string, /^text\/html/);
    assert.equal(headers["cache-control"], "no-cache");
    const policy = headers["content-security-policy"] as string;
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe|https?:|data:|\*/);
    assert.doesNotMatch(body, /<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|https?:\/\//);
  });

  it("serves each file that the page names, compressed and to be kept for good", async () => {
    assert.ok(named().length >= 3);
    for (const path of named()) {
      const answer = await server.inject({ url: `/${path}`, headers: { "accept-encoding": "br" } });
      assert.equal(answer.statusCode, 200, path);
      assert.match(answer.headers["cache-control"] as string, /max-age=31536000, immutable/);
      assert.equal(answer.headers["content-encoding"], "br");
      assert.match(path, /-[\w-]{8}\.(?:js|css|svg)$/);
    }
  });

  it("gives nothing else away", async () => {
    for (const url of [
      "/assets/",
      "/assets/nope.js",
      "/assets/..%2f..%2fmain.tsx",
      "/assets/../index.html",
      "/assets/%2e%2e/%2e%2e/main.tsx",
    ]) {
      assert.match(String((await server.inject(url)).statusCode), /^40[34]$/, url);
    }
  });

  it("says what to do where it was not built", async t => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-page-"));
    const bare = Fastify();
    t.after(() => Promise.all([bare.close(), rmSync(folder, { recursive: true })]));
    await servePage(bare, { folder });
    const { statusCode, body } = await bare.inject("/");
    assert.equal(statusCode, 503);
    assert.match(body, /npm run build/);
  });

  it("is light: all of it together, compressed, is within its budget", () => {
    const files = [join(DIST, "index.html"), ...readdirSync(join(DIST, "assets")).map(name => join(DIST, "assets", name))];
    const size = files.filter(file => !/\.(?:gz|br)$/.test(file)).reduce((sum, file) => sum + gzipSync(readFileSync(file)).length, 0);
    assert.ok(size > 5_000 && size <= BUDGET, `${size} bytes of ${BUDGET}`);
  });
});
