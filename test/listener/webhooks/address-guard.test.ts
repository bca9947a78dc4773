import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { after, before, describe, it } from "node:test";
import { checkUrl, type Guard } from "../../../listener/webhooks/address-guard.ts";
import { DEFAULTS, type Endpoint } from "../../../listener/webhooks/endpoints.ts";
import { openSender } from "../../../listener/webhooks/send.ts";

const strict: Guard = { allowLoopback: false };

/** IPv4 addresses that are not public. */
const PRIVATE = [
  [127, 0, 0, 1], [127, 255, 255, 254], [0, 0, 0, 0], [10, 0, 0, 1], [10, 255, 1, 2], [100, 64, 0, 1], [169, 254, 169, 254], [172, 16, 0, 1],
  [172, 31, 255, 255], [192, 0, 0, 1], [192, 0, 2, 1], [192, 168, 1, 1], [198, 18, 0, 1], [198, 51, 100, 7], [203, 0, 113, 9], [224, 0, 0, 1],
  [240, 0, 0, 1], [255, 255, 255, 255], [168, 63, 129, 16],
] as const; // biome-ignore format: a list

type Bytes = readonly [number, number, number, number];
const hex = (n: number) => n.toString(16);
const hex2 = (n: number) => n.toString(16).padStart(2, "0");
const number = ([a, b, c, d]: Bytes) => ((a * 256 + b) * 256 + c) * 256 + d;
const fullWidth = (text: string) => [...text].map(c => (/\d/.test(c) ? String.fromCodePoint(0xff10 + Number(c)) : c)).join("");
const circled = (text: string) => [...text].map(c => (/[1-9]/.test(c) ? String.fromCodePoint(0x2460 + Number(c) - 1) : c)).join("");
const pair = ([a, b, c, d]: Bytes) => `${hex2(a)}${hex2(b)}:${hex2(c)}${hex2(d)}`;

/** How one address can be written as a host. */
const FORMS: ((bytes: Bytes) => string)[] = [
  bytes => bytes.join("."),
  bytes => `${bytes.join(".")}.`,
  bytes => String(number(bytes)),
  bytes => `0x${hex(number(bytes))}`,
  bytes => `0${number(bytes).toString(8)}`,
  bytes => bytes.map(n => `0x${hex(n)}`).join("."),
  bytes => bytes.map(n => `0${n.toString(8)}`).join("."),
  bytes => bytes.map(n => `00${n.toString(8).padStart(3, "0")}`).join("."),
  ([a, b, c, d]) => `${a}.${(b * 256 + c) * 256 + d}`,
  ([a, b, c, d]) => `${a}.${b}.${c * 256 + d}`,
  ([a, b, c, d]) => `0x${hex(a)}.0${b.toString(8)}.${c}.${d}`,
  bytes => fullWidth(bytes.join(".")),
  bytes => circled(bytes.join(".")),
  bytes => bytes.join("。"),
  bytes => bytes.join(".").replaceAll(".", "%2e"),
  bytes => `[::ffff:${bytes.join(".")}]`,
  bytes => `[::ffff:${pair(bytes)}]`,
  bytes => `[0:0:0:0:0:FFFF:${pair(bytes)}]`,
  bytes => `[::${bytes.join(".")}]`,
  bytes => `[64:ff9b::${bytes.join(".")}]`,
  bytes => `[2002:${pair(bytes)}::]`,
];

const OTHERS = [
  "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[fe80::1]", "[fc00::1]", "[fd12:3456::1]", "[ff02::1]", "[fec0::1]", "[100::1]", "[2001:db8::1]", "[2001::1]", "[3fff::1]",
  "[4000::1]", "localhost", "LOCALHOST", "localhost.", "a.localhost", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
]; // biome-ignore format: a list

const HOSTS = [...PRIVATE.flatMap(bytes => FORMS.map(form => form(bytes))), ...OTHERS];

const endpoint = (url: string): Endpoint => ({
  ...DEFAULTS,
  id: "wh_1",
  url,
  timeout: 2_000,
  state: "active",
  reason: null,
  secrets: [{ secret: "whsec_c2VjcmV0", createdAt: "", until: null }],
  createdAt: new Date(),
  updatedAt: new Date(),
});

async function send(url: string, guard: Guard) {
  const sender = openSender(endpoint(url), guard);
  try {
    return await sender.send({ id: "m", body: "{}" }, new AbortController().signal);
  } finally {
    await sender.close();
  }
}

describe("the guard of webhooks", () => {
  let server: ReturnType<typeof createTcpServer>;
  let port = 0;
  let connections = 0;
  before(async () => {
    server = createTcpServer(socket => {
      connections += 1;
      socket.destroy();
    }).listen(0, "::");
    await once(server, "listening");
    port = (server.address() as AddressInfo).port;
  });
  after(() => void server?.close());

  it(`connects to no private address in any of ${HOSTS.length} forms`, async () => {
    assert.ok(HOSTS.length >= 400, String(HOSTS.length));
    for (const host of HOSTS) {
      for (const scheme of ["https", "http"]) {
        const url = `${scheme}://${host}:${port}/`;
        assert.throws(() => checkUrl(url, strict), Error, url);
        // What is in the database may have been written by somebody else: the sender checks by itself.
        const attempt = await send(url, strict);
        assert.equal(attempt.status, null, url);
        assert.ok(attempt.error, url);
      }
    }
    assert.equal(connections, 0);
    // The listener counts: the same sender reaches it where it may.
    await send(`http://127.0.0.1:${port}/`, { allowLoopback: true });
    assert.ok(connections > 0);
    connections = 0;
  });

  it("allows loopback alone by the setting, and http there alone", () => {
    const loose = { allowLoopback: true };
    for (const host of ["127.0.0.1", "[::1]", "localhost", "2130706433"]) checkUrl(`http://${host}/`, loose);
    for (const host of ["10.0.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "[fe80::1]"]) {
      assert.throws(() => checkUrl(`https://${host}/`, loose), Error, host);
    }
    assert.throws(() => checkUrl("http://example.com/", loose));
  });

  it("takes public https URLs, and no user, password or other scheme", () => {
    for (const url of ["https://example.com/hooks?a=1", "https://1.1.1.1:8443/", "https://[2606:4700::1111]/"]) checkUrl(url, strict);
    for (const url of [
      "http://example.com/",
      "https://a:b@example.com/",
      "https://a@example.com",
      "ftp://example.com",
      "file:///etc/passwd",
      "x",
      "",
    ]) {
      assert.throws(() => checkUrl(url, strict), Error, url);
    }
  });

  it("refuses a name that has a private address among its own", async () => {
    const resolve: Guard["resolve"] = (_, callback) =>
      callback(null, [
        { address: "1.1.1.1", family: 4 },
        { address: "127.0.0.1", family: 4 },
      ]);
    const attempt = await send(`https://hooks.example:${port}/`, { allowLoopback: false, resolve });
    assert.match(attempt.error!, /127\.0\.0\.1 is not a public address/);
    assert.equal(connections, 0);
  });

  it("refuses a name that changes its mind after it was checked", async () => {
    let asked = 0;
    const resolve: Guard["resolve"] = (_, callback) => callback(null, [{ address: asked++ === 0 ? "192.0.2.1" : "127.0.0.1", family: 4 }]);
    const guard = { allowLoopback: false, resolve };
    for (let n = 0; n < 3; n++) assert.match((await send(`https://rebind.example:${port}/`, guard)).error!, /not a public address/);
    assert.equal(asked, 3, "each connection looks the name up once, and goes where that was checked");
    assert.equal(connections, 0);
  });

  it("does not follow a redirect", async () => {
    const redirecting: Server = createServer(
      (_, response) => void response.writeHead(307, { location: `http://127.0.0.1:${port}/` }).end(),
    );
    redirecting.listen(0, "127.0.0.1");
    await once(redirecting, "listening");
    const own = (redirecting.address() as AddressInfo).port;
    const attempt = await send(`http://127.0.0.1:${own}/`, { allowLoopback: true });
    redirecting.closeAllConnections();
    redirecting.close();
    assert.equal(attempt.status, 307);
    assert.match(attempt.error!, /redirects are not followed/);
    assert.equal(connections, 0);
  });
});
