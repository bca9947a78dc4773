import type { ServerResponse } from "node:http";
import type { Random } from "../../../scripts/support/random.ts";
import type { RpcRequest } from "../json-rpc-server.ts";
import { HARMLESS_LOGS, WRONG_LOGS } from "./lies.ts";
import type { Answer } from "./node.ts";
import { PROVIDER_ERRORS } from "./provider-messages.ts";

export type Call = { request: RpcRequest; response: ServerResponse; honest: Answer; random: Random };
/** What becomes of one answer on its way to us. */
export type WireFault = (call: Call) => void;

const envelope = ({ request, honest }: Call) => JSON.stringify({ jsonrpc: "2.0", id: request.id, ...honest });
const send = ({ response }: Call, body: string | Buffer, status = 200, headers: Record<string, string> = {}) => {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(body);
};
/** This result in the place of the true one. */
const result =
  (make: (call: Call) => unknown): WireFault =>
  call =>
    send(call, JSON.stringify({ jsonrpc: "2.0", id: call.request.id, result: make(call) }));
const error =
  (make: (call: Call) => { code: number; message: string; data?: unknown }, status = 200, headers?: Record<string, string>): WireFault =>
  call =>
    send(call, JSON.stringify({ jsonrpc: "2.0", id: call.request.id, error: make(call) }), status, headers);
const body =
  (make: (call: Call) => string | Buffer, status = 200): WireFault =>
  call =>
    send(call, make(call), status);

const isBlock = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && "parentHash" in value;
/** Alters a block in the answer; of what is no block, makes nothing of the sort. */
const block = (alter: (block: Record<string, unknown>, random: Random) => unknown): WireFault =>
  result(({ honest, random }) => {
    const value = "result" in honest ? honest.result : null;
    return isBlock(value) ? alter(value, random) : {};
  });
const logs = (alter: (logs: never[], random: Random) => unknown): WireFault =>
  result(({ honest, random }) => {
    const value = "result" in honest ? honest.result : null;
    return Array.isArray(value) && value.length > 0 ? alter(value as never[], random) : "not a list";
  });

export const HUGE = "a body of 50 MB";
const HUGE_BODY = Buffer.concat([
  Buffer.from('{"jsonrpc":"2.0","id":1,"result":"0x'),
  Buffer.alloc(50 * 1024 * 1024, "0"),
  Buffer.from('"}'),
]);

/** What a node, or what stands before it, may answer to any call instead of the truth. */
export const WIRE_FAULTS: Record<string, WireFault> = {
  "truncated JSON": body(call => envelope(call).slice(0, Math.floor(envelope(call).length * call.random.next()))),
  "a cut connection": call => {
    const text = envelope(call);
    call.response.writeHead(200, { "content-length": String(text.length) });
    call.response.write(text.slice(0, Math.floor(text.length / 2)), () => call.response.destroy());
  },
  "a reset connection": ({ response }) => void response.socket?.resetAndDestroy(),
  "no JSON": body(() => "<html><body>502 Bad Gateway</body></html>"),
  "an empty body": body(() => ""),
  "bytes of no text": body(() => Buffer.from([0xff, 0xfe, 0x00, 0x80])),
  "JSON of another kind": ({ random, ...call }) =>
    send({ random, ...call }, random.pick(["null", "[]", "42", '"text"', "true", "{}", "[null]"])),
  "another id": call => send(call, JSON.stringify({ jsonrpc: "2.0", id: call.request.id + 1_000, ...call.honest })),
  "another type": result(({ random }) => random.pick([true, 1, "0x", "latest", { a: 1 }, [[]], [1], ["0x"], { number: 1 }])),
  "a result that is null": result(() => null),
  "neither result nor error": call => send(call, JSON.stringify({ jsonrpc: "2.0", id: call.request.id })),
  "an error of another shape": ({ random, ...call }) =>
    send(
      { random, ...call },
      JSON.stringify({ jsonrpc: "2.0", id: call.request.id, error: random.pick(["text", 1, {}, { message: null }, { code: "x" }]) }),
    ),
  [HUGE]: call => send(call, HUGE_BODY),
  "429": error(() => ({ code: 429, message: "Too Many Requests" }), 429),
  "429 with Retry-After": error(() => ({ code: 429, message: "Too Many Requests" }), 429, { "retry-after": "0.05" }),
  "429 with a wrong Retry-After": error(() => ({ code: -32_005, message: "limit exceeded" }), 429, { "retry-after": "Thu, 01 Jan 1970" }),
  "429 with backoff_seconds in its error": error(
    () => ({ code: -32_005, message: "project ID request rate exceeded", data: { rate: { allowed_rps: 10, backoff_seconds: 0.05 } } }),
    429,
  ),
  "429 without JSON": body(() => "slow down", 429),
  "500": body(() => "oops", 500),
  "503": error(() => ({ code: -32_000, message: "no backend is currently healthy" }), 503),
  "a provider's error": error(({ random }) => random.pick(PROVIDER_ERRORS)),
  "a provider's error with HTTP 400": error(({ random }) => random.pick(PROVIDER_ERRORS), 400),
};

/** What it may answer to a call for a block. */
export const BLOCK_FAULTS: Record<string, WireFault> = {
  "a block of another number": block(b => ({ ...b, number: "0xfffff" })),
  "a block without a hash": block(({ hash, ...b }) => b),
  "a block with numbers that are none": block((b, random) => ({
    ...b,
    [random.pick(["number", "timestamp"])]: random.pick(["0xzz", "", null, {}, -1, "1e99"]),
  })),
  "a block with a short bloom": block(b => ({ ...b, logsBloom: "0x00" })),
  "a block that is its own parent": block(b => ({ ...b, parentHash: b.hash })),
};

/** What it may answer to a call for logs. */
export const LOG_FAULTS: Record<string, WireFault> = {
  ...Object.fromEntries(Object.entries(WRONG_LOGS).map(([name, lie]) => [name, logs((list, random) => lie(list, random))])),
  ...Object.fromEntries(Object.entries(HARMLESS_LOGS).map(([name, lie]) => [name, logs((list, random) => lie(list, random))])),
};

/** Never answers: only the caller's own patience ends it. */
export const silence: WireFault = () => {};
