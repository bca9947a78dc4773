import { classifyRefusal } from "./provider-errors.ts";
import { NodeFault, type Reply } from "./transport.ts";

/** What a node answered on purpose: a result (which may be null), or an error of its own. */
export type Answered = { result?: unknown; error?: { code: number; message: string } };

/** What a node says that means "not now" rather than "no", besides that it limits the rate. */
const TRANSIENT = /no backend is currently healthy|temporarily unavailable|try again/i;
const TOO_MANY_REQUESTS = 429;
/** The key is missing or wrong, the plan has run out, or there is no such address: no time mends that. */
const REFUSED = new Set([401, 402, 403, 404, 405]);

/**
 * Reads the answer to the request with this id.
 *
 * @throws NodeFault where it is none: no JSON, cut short, another request's, without a result, or a request for patience
 */
export function readReply({ status, retryAfter, text }: Reply, id: number): Answered {
  const fault = (message: string, kind?: NodeFault["kind"]) => new NodeFault(message, { ...(kind ? { kind } : {}), retryAfter });
  const broken = (what: string): NodeFault => {
    if (status === TOO_MANY_REQUESTS) return fault("HTTP 429", "limited");
    return status === 200 ? fault(what) : fault(`HTTP ${status}`, REFUSED.has(status) ? "refused" : "failed");
  };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw broken("the answer is not JSON");
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) throw broken("the answer is not an object");
  const answer = parsed as { id?: unknown; result?: unknown; error?: unknown };
  if (answer.error) {
    const { code, message, data } = errorOf(answer.error);
    const patience = backOffOf(data) ?? retryAfter;
    if (status === TOO_MANY_REQUESTS || code === TOO_MANY_REQUESTS || classifyRefusal(message).kind === "rate limited")
      throw new NodeFault(message, { kind: "limited", retryAfter: patience });
    if (TRANSIENT.test(message)) throw new NodeFault(message, { retryAfter: patience });
    if (REFUSED.has(status)) throw fault(`HTTP ${status}: ${message}`, "refused");
    const detail = typeof data === "string" && !data.startsWith("0x") ? ` (${data})` : "";
    return { error: { code, message: `${message}${detail}` } };
  }
  if (answer.result === undefined) throw broken("the answer has no result");
  if (String(answer.id) !== String(id)) throw fault("the answer is that to another request");
  return { result: answer.result };
}

function errorOf(error: unknown): { code: number; message: string; data: unknown } {
  if (typeof error !== "object" || error === null) return { code: 0, message: String(error), data: undefined };
  const { code, message, data } = error as { code?: unknown; message?: unknown; data?: unknown };
  return { code: Number(code) || 0, message: String(message ?? "error without a message"), data };
}

/** Infura says in the error how long to wait. */
function backOffOf(data: unknown): number | undefined {
  const seconds = Number((data as { rate?: { backoff_seconds?: unknown } } | null | undefined)?.rate?.backoff_seconds);
  return seconds > 0 ? Math.min(seconds, 900) * 1_000 : undefined;
}
