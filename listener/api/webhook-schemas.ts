import { z } from "zod";
import type { App } from "../app.ts";
import { SluiceError } from "../errors.ts";
import { checkUrl, type Guard } from "../webhooks/address-guard.ts";
import { activeSecrets, RESERVED_HEADERS } from "../webhooks/endpoints.ts";
import type { EndpointStatus } from "../webhooks/read.ts";
import { address, blockNumber, count, deliveryFinality, time } from "./schemas.ts";

/** What an endpoint's settings may be, as they come in. Nothing has a default here: a change leaves what it does not name. */
export function settings(app: App, guard: Guard) {
  const names = [...app.contracts].flatMap(([contract, decoders]) => decoders.map(({ name }) => `${contract}.${name}`));
  const value = z.union([z.string().max(1_000), z.boolean()]);
  const url = z
    .string()
    .max(2_000)
    .superRefine((text, context) => {
      try {
        checkUrl(text, guard);
      } catch (error) {
        if (!(error instanceof SluiceError)) throw error;
        context.addIssue({ code: "custom", message: error.hint ? `${error.message}: ${error.hint}` : error.message });
      }
    })
    .describe("https, to a public address; http to this machine where WEBHOOKS_ALLOW_LOOPBACK is true");
  return {
    url,
    description: z.string().max(200),
    events: z
      .array(z.string().refine(name => names.includes(name), { error: `expected some of ${names.join(", ")}` }))
      .max(100)
      .describe("names such as Token.Transfer; none means every event"),
    filter: z
      .strictObject({
        contract: z.string().max(100),
        account: address,
        arguments: z.record(z.string().max(100), z.union([value, z.array(value).min(1).max(100)])),
        minimumAmount: z.string().regex(/^\d{1,78}$/, "expected a decimal string in the smallest unit"),
      })
      .partial()
      .describe("all of what is given must hold; arguments: by name, a value or any of several; minimumAmount: of amount, value or reward"),
    finality: z
      .union([z.enum(["finalized", "safe", "latest"]), z.int().min(1).max(10_000)])
      .describe("when an event is told; a number is one of confirmations; latest tells at once, and of reorgs by `reverted`"),
    ordered: z.boolean().describe("messages that have an account in common come one after another"),
    batch: z.int().min(1).max(500).describe("events in a request at most"),
    wait: z.int().min(0).max(60_000).describe("milliseconds that an event may wait for others to fill its request"),
    headers: z.record(z.string().max(100), z.string().max(2_000)).superRefine((all, context) => {
      const wrong = (name: string, message: string) => context.addIssue({ code: "custom", path: [name], message });
      if (Object.keys(all).length > 20) wrong("", "expected at most 20 headers");
      for (const [name, text] of Object.entries(all)) {
        if (!/^[\w-]+$/.test(name)) wrong(name, "expected the name of a header");
        else if (RESERVED_HEADERS.test(name)) wrong(name, "this header is set by Sluice");
        if (!/^[\t\x20-\x7e]*$/.test(text)) wrong(name, "expected printable ASCII");
      }
    }),
    timeout: z.int().min(100).max(30_000).describe("milliseconds until an answer's status has to be there"),
    concurrency: z.int().min(1).max(64).describe("requests under way at a time"),
  };
}

export const fromBlock = blockNumber.describe("tell of the past from this block on first; without it, only of what comes");

export const attempt = z.object({
  at: time,
  duration: z.int().describe("milliseconds"),
  status: z.int().nullable(),
  error: z.string().nullable(),
});

/** A message: what an endpoint is told in one request. */
export const message = z.object({
  sequence: z.int(),
  id: z.string().describe("its webhook-id"),
  operation: z.enum(["event", "reverted", "test"]),
  state: z.enum(["pending", "done", "dead"]),
  attempts: z.int(),
  nextAt: time.nullable(),
  status: z.int().nullable().describe("of the last answer"),
  error: z.string().nullable(),
  createdAt: time,
  doneAt: time.nullable(),
});

/** An endpoint as it is shown. Its secrets are not, nor the values of its headers. */
export const endpoint = z.object({
  id: z.string(),
  url: z.string(),
  description: z.string(),
  events: z.array(z.string()),
  filter: z.object({
    contract: z.string().optional(),
    account: address.optional(),
    arguments: z.record(z.string(), z.unknown()).optional(),
    minimumAmount: z.string().optional(),
  }),
  finality: deliveryFinality,
  ordered: z.boolean(),
  batch: z.int(),
  wait: z.int(),
  headers: z.array(z.string()).describe("their names"),
  timeout: z.int(),
  concurrency: z.int(),
  state: z.enum(["active", "paused", "disabled"]),
  reason: z.string().nullable().describe("why it is disabled"),
  secrets: z.array(z.object({ createdAt: z.string(), until: z.string().nullable() })).describe("those that sign now, the newest first"),
  breaker: z.object({
    state: z.enum(["closed", "open"]).describe("open: it is left alone but for one message now and then"),
    failures: count.describe("in a row"),
    probeAt: time.nullable(),
  }),
  counts: z.object({ pending: count, dead: count, delivered: count, failed: count.describe("attempts") }),
  position: z.int().describe("the last place of the journal that was looked at"),
  sequence: z.int().describe("of its last message"),
  oldestPending: time.nullable(),
  lastAttempt: attempt.nullable(),
  createdAt: time,
  updatedAt: time,
});

export function showEndpoint({ secrets, headers, ...status }: EndpointStatus): z.output<typeof endpoint> {
  const active = new Set(activeSecrets({ secrets }));
  return {
    ...status,
    headers: Object.keys(headers),
    secrets: secrets.filter(({ secret }) => active.has(secret)).map(({ createdAt, until }) => ({ createdAt, until })),
  };
}
