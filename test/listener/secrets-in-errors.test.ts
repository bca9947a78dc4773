import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { JsonRpcProvider } from "ethers";
import { describe } from "../../listener/errors.ts";

test("describes an error without the keys in the URLs that a library put into it", { timeout: 120_000 }, async t => {
  const server = createServer((_, response) => response.writeHead(401).end("{}")).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as { port: number };
  const provider = new JsonRpcProvider(`http://user:hunter2@127.0.0.1:${port}/v2/abcdefghijklmnop0123456789?key=sesame`, 1, {
    staticNetwork: true,
  });
  t.after(() => provider.destroy());
  const error = await provider.send("eth_accounts", []).then(assert.fail, thrown => thrown);
  for (const secret of ["hunter2", "abcdefghijklmnop0123456789", "sesame"]) assert.ok(!describe(error).includes(secret), describe(error));
  assert.match(
    describe(new Error("connect to postgres://me:hunter2@db/app, then wait", { cause: error })),
    /me|\*\*\*.*db\/app, then wait/,
  );
  assert.ok(!describe("redis://:hunter2@cache:6379").includes("hunter2"));
});
