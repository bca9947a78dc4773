import { createHmac } from "node:crypto";

/** The headers of Standard Webhooks: the message's id, the time of this attempt, and one signature for each active secret. */
export function signatureHeaders(message: { id: string; body: string; secrets: readonly string[]; at?: Date }): Record<string, string> {
  const timestamp = String(Math.floor((message.at ?? new Date()).getTime() / 1_000));
  const signed = `${message.id}.${timestamp}.${message.body}`;
  return {
    "webhook-id": message.id,
    "webhook-timestamp": timestamp,
    "webhook-signature": message.secrets.map(secret => `v1,${hmac(secret, signed)}`).join(" "),
  };
}

const hmac = (secret: string, text: string) =>
  createHmac("sha256", Buffer.from(secret.slice("whsec_".length), "base64"))
    .update(text)
    .digest("base64");
