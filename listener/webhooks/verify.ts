import { createHmac, timingSafeEqual } from "node:crypto";

/** Seconds that a message's time may differ from the receiver's clock: an older one may be somebody who repeats it. */
const TOLERANCE = 300;

/**
 * Checks a message of Standard Webhooks and gives its parsed body. This file needs nothing but Node: import it, or copy it.
 *
 * @param body the bytes of the request exactly as they came: JSON that was parsed and written again has another signature
 * @param headers of the request, by lower-case name
 * @param secrets `whsec_…`, one, or while they are rotated the old and the new one
 * @throws Error that says what is wrong; answer 400 then, and use nothing of the body
 */
export function verifyWebhook<T = unknown>(
  body: string | Uint8Array,
  headers: Record<string, string | string[] | undefined>,
  secrets: string | readonly string[],
  now: Date = new Date(),
): T {
  const [id, timestamp, signatures] = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(name => headers[name]);
  if (typeof id !== "string" || typeof timestamp !== "string" || typeof signatures !== "string")
    throw new Error("a webhook header is missing");
  if (!/^\d{1,12}$/.test(timestamp)) throw new Error("webhook-timestamp is not a time");
  if (Math.abs(now.getTime() / 1_000 - Number(timestamp)) > TOLERANCE) throw new Error("webhook-timestamp is too far from this clock");
  const bytes = Buffer.from(body as Uint8Array);
  const given = signatures.split(" ").flatMap(one => (one.startsWith("v1,") ? [Buffer.from(one.slice(3), "base64")] : []));
  const matches = [secrets].flat().some(secret => {
    const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
    if (key.length === 0) throw new Error("the secret is empty");
    const expected = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(bytes).digest();
    return given.some(signature => signature.length === expected.length && timingSafeEqual(signature, expected));
  });
  if (!matches) throw new Error("no signature matches: the secret is another one, or the body was changed on its way");
  return JSON.parse(bytes.toString("utf8")) as T;
}
