import { type CallOptions, type Rpc, RpcError } from "../../listener/chain/rpc.ts";
import { BadAnswerError } from "../../listener/errors.ts";
import type { Random } from "../../scripts/support/random.ts";
import { quantity } from "../support/chain-sim/block.ts";
import type { SimNode } from "../support/chain-sim/node.ts";

/** What a call meets before it reaches a node. `refuse`: the node answers with an error of its own. */
export type Way = "open" | "down" | "flaky" | "refuse";
type Asked<T> = { good: boolean; lied: boolean; give: () => T };

/** Blocks as JSON: each is told of many times. */
const texts = new WeakMap<object, string>();
function textOf(result: unknown): string {
  if (typeof result !== "object" || result === null || Array.isArray(result)) return JSON.stringify(result);
  let text = texts.get(result);
  if (!text) texts.set(result, (text = JSON.stringify(result)));
  return text;
}

const REFUSALS = ["Internal error", "unknown block", "query timeout exceeded", "block range is too wide"];

export type Endpoint = { node: SimNode; way: Way };

/**
 * The nodes without a network between: a call goes to the first that works, as in the real pool, and waits where none does.
 * The real pool is held against bad networks by itself (see bad-replies.ts); here time stands still until a step lets it go.
 *
 * `onBlocked` is told when a call waits; `resume` lets all of them try again.
 */
export function simRpc(endpoints: readonly Endpoint[], random: Random): { rpc: Rpc; onBlocked(tell: () => void): void; resume(): void } {
  let blocked = () => {};
  const waiting: (() => void)[] = [];

  /** One node's answer: the call's end, or what that would be if nobody does better; undefined where it does not answer. */
  function ask<T>({ node, way }: Endpoint, method: string, parameters: readonly unknown[], options: CallOptions<T>): Asked<T> | undefined {
    const { knows, check, exists, name } = { ...options, name: nameOf(node) };
    const unhelpful = (error: Error, lied = false): Asked<T> => ({
      good: false,
      lied,
      give: () => {
        throw error;
      },
    });
    if (way === "down" || (way === "flaky" && random.below(3) === 0)) return undefined;
    if (knows !== undefined) {
      const header = node.answer("eth_getBlockByNumber", [quantity(knows), false]);
      if (!("result" in header) || header.result === null)
        return unhelpful(new RpcError(method, -32_000, `header not found: no node has block ${knows}`));
    }
    const refused = way === "refuse" && random.below(3) === 0;
    const answer = refused ? { error: { code: -32_603, message: random.pick(REFUSALS) } } : node.answer(method, parameters);
    if ("error" in answer) {
      const error = new RpcError(method, answer.error.code, answer.error.message);
      if (exists) return unhelpful(error);
      throw error;
    }
    const { result } = answer;
    try {
      const received = JSON.parse(textOf(result));
      const value = check ? check(received, name) : (received as T);
      return { good: !(result === null && exists), lied: false, give: () => value };
    } catch (error) {
      if (!(error instanceof BadAnswerError)) throw error;
      return unhelpful(error, true);
    }
  }

  const nameOf = (node: SimNode) => `node ${endpoints.findIndex(endpoint => endpoint.node === node)}`;

  async function call<T>(method: string, parameters: readonly unknown[], options: CallOptions<T> = {}): Promise<T> {
    const others = endpoints.filter(({ node }) => nameOf(node) !== options.avoid);
    for (;;) {
      const asked: Asked<T>[] = [];
      for (const endpoint of others.length > 0 ? others : endpoints) {
        const one = ask(endpoint, method, parameters, options);
        if (one?.good) return one.give();
        if (one) asked.push(one);
      }
      // Whoever does not know may be right: the block may be gone.
      const given = asked.find(({ lied }) => !lied) ?? asked[0];
      if (given) return given.give();
      await new Promise<void>(resolve => {
        waiting.push(resolve);
        blocked();
      });
    }
  }
  return {
    rpc: { call, accuse() {}, nodes: () => [], onNewHead() {}, close() {} },
    onBlocked(tell) {
      blocked = tell;
    },
    resume() {
      for (const go of waiting.splice(0)) go();
    },
  };
}
