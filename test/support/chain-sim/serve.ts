import type { Random } from "../../../scripts/support/random.ts";
import { jsonRpcServer, type RpcRequest } from "../json-rpc-server.ts";
import type { SimNode } from "./node.ts";
import type { WireFault } from "./wire.ts";

/** A simulated node on HTTP. `fault`, where it gives one for a request, has the answer instead. */
export async function serveNode(node: SimNode, random: Random) {
  const state = { fault: (_: RpcRequest): WireFault | undefined => undefined };
  const server = await jsonRpcServer((request, response) => {
    const honest = node.answer(request.method, request.params ?? []);
    const fault = state.fault(request);
    if (!fault) return honest;
    fault({ request, response, honest, random });
    return undefined;
  });
  return {
    url: server.url,
    node,
    set fault(next: (request: RpcRequest) => WireFault | undefined) {
      state.fault = next;
    },
    requests: server.requests,
    close: () => server.close(),
  };
}

export type ServedNode = Awaited<ReturnType<typeof serveNode>>;
