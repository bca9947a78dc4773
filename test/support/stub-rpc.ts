import { type CallOptions, type Rpc, RpcError } from "../../listener/chain/rpc.ts";

export type StubAnswers = Record<string, unknown | ((...parameters: never[]) => unknown)>;

/** An Rpc that answers from a table; what is not in it the node does not support. */
export function stubRpc(answers: StubAnswers): Rpc & { calls: string[]; answers: StubAnswers } {
  const calls: string[] = [];
  return {
    calls,
    answers,
    async call<T>(method: string, parameters: readonly unknown[], options?: CallOptions<T>): Promise<T> {
      calls.push(method);
      if (!(method in answers)) throw new RpcError(method, -32_601, "the method does not exist");
      const answer = answers[method];
      const given = await (typeof answer === "function" ? answer(...parameters) : answer);
      return options?.check ? options.check(given, "stub") : (given as T);
    },
    accuse() {},
    nodes: () => [],
    onNewHead() {},
    close() {},
  };
}
