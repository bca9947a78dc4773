import { follow } from "../../listener/chain/follow.ts";
import { readIdentity } from "../../listener/chain/identity.ts";
import { openRpc } from "../../listener/chain/rpc.ts";
import { nodeSource } from "../../listener/chain/source.ts";
import { followed } from "../../listener/commands/listener.ts";
import type { Verify } from "../../listener/config.ts";
import { app } from "../../listener/dapp/routes.ts";
import type { Db } from "../../listener/db.ts";
import { enterChain } from "../../listener/journal/chains.ts";
import { openJournal } from "../../listener/journal/journal.ts";
import { randomFrom } from "../../scripts/support/random.ts";
import { simChain, TOKEN_ADDRESS, TOKEN_BLOCK } from "../support/chain-sim/chain.ts";
import { simNode } from "../support/chain-sim/node.ts";
import { serveNode } from "../support/chain-sim/serve.ts";
import { eventually } from "../support/eventually.ts";
import { silent } from "../support/silent.ts";
import { compareEvents, type Difference } from "./compare.ts";

export type LaneOptions = { db: Db; chainId: number; seed: number; nodes: number; verify: Verify };

/** Simulated nodes on HTTP, followed by the real RPC pool, source and follower into the real journal, in the background. */
export async function openLane({ db, chainId, seed, nodes, verify }: LaneOptions) {
  const random = randomFrom(seed);
  const chain = simChain(randomFrom(seed + 1));
  chain.mine(3);
  const served = await Promise.all(Array.from({ length: nodes }, () => serveNode(simNode(chain, { chainId, random }), random)));
  const stop = new AbortController();
  const options = { log: silent, signal: stop.signal };
  const rpc = openRpc(
    served.map(({ url }) => url),
    options,
  );
  const deployment = { chainId, contracts: { SluiceToken: { address: TOKEN_ADDRESS, block: TOKEN_BLOCK } } };
  await enterChain(db, rpc, await readIdentity(rpc), deployment);
  const { contracts, filter } = followed(app, deployment);
  const source = nodeSource({ rpc, filter, finality: "finalized", verify, pollInterval: 10, ...options });
  const journal = openJournal({ db, chainId, epoch: 0, app, contracts });
  let tip = "";
  let failure: unknown;
  const following = (async () => {
    for await (const update of follow(source, await journal.checkpoint(), silent)) {
      await journal.record(update);
      if (update.type === "extend") tip = update.headers.at(-1)!.hash;
      if (update.type === "reorg") tip = update.ancestor?.hash ?? "";
    }
  })().catch(error => {
    failure = error;
  });
  return {
    chain,
    random,
    served,
    nodes: () => rpc.nodes(),
    /** Waits until the journal's tip is the chain's head. Gives the seconds that it took. */
    async settle(): Promise<number> {
      const began = performance.now();
      await eventually(
        () => {
          if (failure) return true;
          return tip === chain.head.hash;
        },
        { timeout: 60_000, what: () => `the journal of seed ${seed} is at the chain's head, block ${chain.head.number}` },
      );
      if (failure) throw failure;
      return (performance.now() - began) / 1_000;
    },
    compare: (): Promise<Difference> => compareEvents(db, chainId, chain),
    async close() {
      stop.abort();
      await following;
      rpc.close();
      await Promise.all(served.map(node => node.close()));
    },
  };
}

export type Lane = Awaited<ReturnType<typeof openLane>>;
