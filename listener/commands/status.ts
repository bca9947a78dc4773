import { readDeployment } from "../chain/deployment.ts";
import type { BlockRef } from "../chain/types.ts";
import { app } from "../dapp/routes.ts";
import { readStatus, type Status } from "../journal/status.ts";
import { type BackendKind, backendKind } from "../queues/backend.ts";
import { openProcess } from "./process.ts";

/** Prints where we stand: the chain, the journal, the queues, the nodes. */
export async function status(options: { json?: boolean }): Promise<void> {
  await using running = openProcess("status");
  const { chainId } = readDeployment(running.config.deployment);
  const { db } = await running.openDatabase();
  const queues = app.routes.map(({ queue }) => queue);
  const found = { ...(await readStatus(db, chainId, queues)), queueBackend: backendKind(running.config.redisUrl) };
  process.stdout.write(options.json ? `${JSON.stringify(found, null, 2)}\n` : describeStatus(found));
}

const BACKEND_NAMES: Record<BackendKind, string> = { redis: "Redis", postgres: "Postgres" };

/** The status for a person: what is known of the chain line by line, then a table of the queues and one of the nodes. */
export function describeStatus(status: Status & { queueBackend?: BackendKind }): string {
  const block = (ref: BlockRef | null) => (ref ? `${ref.number}  ${ref.hash}` : "none yet");
  const lines = [
    ["chain", status.chainId],
    ["head", status.head ?? "not seen yet"],
    ["tip", block(status.tip)],
    ["finalized", block(status.finalized)],
    ["lag", status.lag === null ? "unknown" : `${status.lag} blocks`],
    ["leader", status.leader ?? (status.halted ? "none" : "none: run `npm run listen`")],
    ...(status.halted ? [["halted", `since ${status.halted.at}: ${status.halted.reason}; run \`npm run resync\``]] : []),
    ...(status.queueBackend ? [["queues in", BACKEND_NAMES[status.queueBackend]]] : []),
    ["audited to", status.auditedTo ?? (status.audit ? "nothing yet" : "never: run `npm run audit`")],
    ...(status.audit?.failures
      ? [["audit", `NOT ok at ${status.audit.at}: ${status.audit.failures} differences; run \`npm run audit\``]]
      : []),
    ["reorgs", status.reorgs],
    ["events", status.events],
    ["dead letters", status.deadLetters],
  ].map(([name, value]) => `${String(name).padEnd(14)}${value}`);
  const table = [
    ["queue", "pending", "in flight", "done", "failed"],
    ...Object.entries(status.queues).map(([name, { pending, inFlight, done, failed }]) => [name, pending, inFlight, done, failed]),
  ];
  const width = Math.max(14, ...Object.keys(status.queues).map(name => name.length + 2));
  const rows = table.map(([name, ...counts]) => String(name).padEnd(width) + counts.map(count => String(count).padStart(12)).join(""));
  return `${[...lines, "", ...rows, ...describeNodes(status.nodes)].join("\n")}\n`;
}

/** A table of the nodes, where any are known. */
function describeNodes(nodes: Status["nodes"]): string[] {
  if (nodes.length === 0) return [];
  const width = Math.max(...nodes.map(({ url }) => url.length)) + 2;
  const ms = (latency: number | null) => (latency === null ? "" : `${latency} ms`);
  const line = (url: string, state: string, latency: string, since: string, reason: string) =>
    `${url.padEnd(width)}${state.padEnd(9)}${latency.padEnd(10)}${since.padEnd(26)}${reason}`.trimEnd();
  const rows = nodes.map(node => line(node.url, node.state, ms(node.latency), node.since, node.reason ?? ""));
  return ["", line("node", "state", "latency", "since", "reason"), ...rows];
}
