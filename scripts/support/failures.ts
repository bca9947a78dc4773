import { Interface, type InterfaceAbi, id, isError } from "ethers";
import artifact from "../../artifacts/contracts/SluiceToken.sol/SluiceToken.json" with { type: "json" };

/** The token's interface, for encoding, decoding and naming its errors. */
export const tokenInterface: Interface = new Interface(artifact.abi as InterfaceAbi);

/**
 * Says in one line why a call or a transaction failed: the token's own error with its values, or the node's reason.
 * Libraries nest what the node answered differently, so the revert's data is looked for at any depth.
 */
export function describeFailure(error: unknown): string {
  const data = revertData(error);
  const reverted = data && tokenInterface.parseError(data);
  if (reverted) {
    const values = reverted.fragment.inputs.map((input, index) => `${input.name}: ${show(reverted.args[index])}`);
    return values.length > 0 ? `${reverted.name} (${values.join(", ")})` : reverted.name;
  }
  if (isError(error, "NETWORK_ERROR")) return "the node does not answer";
  const codes = new Set(["ECONNREFUSED", "ECONNRESET", "ENOTFOUND"]);
  if (chain(error).some(each => codes.has(String(each.code)))) return "the node does not answer";
  return firstLine(error);
}

const roles = new Map(["MINTER_ROLE", "PAUSER_ROLE", "UNPAUSER_ROLE"].map(role => [id(role), role]));

function show(value: unknown): string {
  return roles.get(String(value)) ?? String(value);
}

/** Whether a transaction was refused because its nonce is not the account's next one. */
export function isNonceFailure(error: unknown): boolean {
  return chain(error).some(each => /nonce/i.test(String(each.message)) || each.code === "NONCE_EXPIRED");
}

function revertData(error: unknown): string | undefined {
  for (const each of chain(error)) {
    if (typeof each.data === "string" && each.data.length >= 10) return each.data;
  }
  return undefined;
}

/** The error and everything it wraps, outermost first. */
function chain(error: unknown): Record<string, unknown>[] {
  const found: Record<string, unknown>[] = [];
  const queue = [error];
  for (let each = queue.shift(); found.length < 20; each = queue.shift()) {
    if (typeof each === "object" && each !== null && !found.includes(each as Record<string, unknown>)) {
      const record = each as Record<string, unknown>;
      found.push(record);
      queue.push(record.cause, record.error, record.info, record.data);
      if (Array.isArray(record.errors)) queue.push(...record.errors);
    }
    if (queue.length === 0) break;
  }
  return found;
}

function firstLine(error: unknown): string {
  const short = (error as { shortMessage?: unknown } | null)?.shortMessage;
  return String(short ?? (error instanceof Error ? error.message : error)).split("\n", 1)[0]!;
}
