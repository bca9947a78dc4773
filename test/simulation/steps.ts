import { transaction } from "../../listener/db.ts";
import { prune } from "../../listener/journal/retention.ts";
import { retryDeadLetters } from "../../listener/worker/dead-letters.ts";
import { rebuild } from "../../listener/worker/rebuild.ts";
import { replay, whyNotReplayed } from "../../listener/worker/replay.ts";
import { HARMLESS_LOGS, PLAIN_LIES, SUBTLE_LIES, WRONG_LOGS } from "../support/chain-sim/lies.ts";
import type { DbFault } from "./faulty-db.ts";
import { advanceShadows, forgetShadow } from "./shadows.ts";
import { app, poison } from "./sim-app.ts";
import type { Simulation } from "./world.ts";

type Step = { weight: number; name: string; run(simulation: Simulation): Promise<unknown> | unknown };

/** The latest of these many branches that were left may come back. */
const REMEMBERED = 3;
const queues = app.routes.map(({ queue }) => queue);

/** A process or its connection breaks in one of twenty steps, at any statement or at the commit. */
function someFault({ random }: Simulation): DbFault | undefined {
  if (random.below(20) > 0) return undefined;
  return {
    kind: random.pick(["kill", "sever"] as const),
    at: random.below(2) === 0 ? "commit" : random.below(8),
    after: random.below(2) === 0,
  };
}

/** Everything that may happen, and how often. */
export const STEPS: readonly Step[] = [
  {
    weight: 16,
    name: "mine",
    run({ chain, random }) {
      chain.mine(1 + random.below(2), random.below(3));
    },
  },
  {
    weight: 0.2,
    name: "mine many",
    run({ chain, random }) {
      chain.mine(130 + random.below(20), 0);
      chain.mine(3);
      chain.finalize(30);
    },
  },
  {
    weight: 2,
    name: "finalize",
    run: ({ chain, random, finality }) => {
      if (finality === "finalized") chain.finalize(random.below(30));
    },
  },
  {
    weight: 4,
    name: "reorg",
    run({ chain, random }) {
      const depth = Math.min(chain.depth(), 1 + random.below(random.below(4) === 0 ? 30 : 4));
      if (depth === 0) return;
      // Mostly longer than what it replaces; sometimes shorter, as when a head is only taken back.
      chain.reorg(depth, random.below(6) === 0 ? random.below(depth) : depth + random.below(3), random.below(3));
    },
  },
  {
    weight: 2,
    name: "A, B, A",
    run({ chain, random }) {
      const back = chain.left.slice(-REMEMBERED).filter(block => chain.contains(chain.finalized, block));
      if (back.length === 0) return;
      chain.switchTo(random.pick(back));
      if (random.below(2) === 0) chain.mine(1 + random.below(3));
    },
  },
  {
    weight: 3,
    name: "a node's view",
    run({ chain, random, endpoints }) {
      const { node } = random.pick(endpoints);
      const fixed = random.below(2) === 0 ? chain.head : random.pick([...chain.left.slice(-REMEMBERED), chain.head]);
      const lag = 1 + random.below(12);
      const canonical = () => chain.head;
      // A node that is stuck on a branch without the final block would be on another chain.
      const stuck = () => (chain.contains(chain.finalized, fixed) ? fixed : chain.head);
      const lagging = () => chain.at(Math.max(chain.finalized.number, chain.head.number - lag))!;
      node.view = random.pick([canonical, canonical, canonical, stuck, lagging, () => random.pick([canonical, stuck, lagging])()]);
    },
  },
  {
    weight: 2,
    name: "a node's way",
    run({ random, endpoints }) {
      random.pick(endpoints).way = random.pick(["open", "open", "down", "flaky", "refuse"] as const);
    },
  },
  {
    weight: 2,
    name: "a node's honesty",
    run({ random, endpoints, verify }) {
      const { node } = random.pick(endpoints);
      const { drop, ...others } = PLAIN_LIES;
      // A bloom tells that an event is missing, but not for sure: of several nodes only one may hide it.
      const plain = endpoints.length > 1 && node === endpoints[0]!.node ? PLAIN_LIES : others;
      const lies = verify === "receipts" ? SUBTLE_LIES : plain;
      node.deep = verify === "receipts" && random.below(2) === 0;
      const all = [...Object.values(lies), ...Object.values(WRONG_LOGS), ...Object.values(HARMLESS_LOGS)];
      node.lie = random.below(2) === 0 ? undefined : random.pick(all);
    },
  },
  {
    weight: 26,
    name: "a listener goes on",
    async run(simulation) {
      const { writers, random } = simulation;
      const writer = random.below(4) === 0 ? random.pick(writers) : writers.at(-1);
      if (writer) await simulation.advance(writer, someFault(simulation));
      else await simulation.takeOver();
    },
  },
  { weight: 1, name: "take-over", run: simulation => simulation.takeOver(someFault(simulation)) },
  {
    weight: 1,
    name: "kill a listener",
    run: async ({ writers, random, discard }) => {
      if (writers.length > 0) await discard(random.pick(writers));
    },
  },
  {
    weight: 14,
    name: "relay",
    async run(simulation) {
      const queue = simulation.random.pick(queues);
      // Two relays at once: one of a listener that was replaced and does not know it.
      if (simulation.random.below(10) === 0) await Promise.all([simulation.relay(queue), simulation.relay(queue)]);
      else await simulation.relay(queue, someFault(simulation));
    },
  },
  {
    weight: 24,
    name: "work",
    async run(simulation) {
      const queue = simulation.random.pick(queues);
      if (simulation.random.below(10) === 0) await Promise.all([simulation.work(queue), simulation.work(queue)]);
      else await simulation.work(queue, someFault(simulation));
    },
  },
  { weight: 4, name: "time", run: ({ pass, random }) => pass(random.below(2_000)) },
  { weight: 2, name: "a job twice", run: ({ store, random }) => store.duplicate(random.pick(queues)) },
  { weight: 1, name: "a forged job", run: ({ store, random }) => store.forge(random.pick(queues), 60) },
  { weight: 0.5, name: "FLUSHALL", run: ({ store }) => store.flush() },
  { weight: 0.5, name: "a lost tail", run: ({ store }) => store.loseTail() },
  { weight: 1, name: "a full Redis", run: ({ store, random }) => store.setFull(random.below(3) === 0) },
  {
    weight: 1,
    name: "poison",
    run({ chainId, random }) {
      const [divisor, rest] = [2 + random.below(9), random.below(2)];
      poison.set(chainId, random.below(2) === 0 ? () => false : event => event.position % divisor === rest);
    },
  },
  {
    weight: 0.7,
    name: "retry",
    run: ({ db, chainId, random }) =>
      transaction(db, tx => retryDeadLetters(tx, chainId, random.below(2) === 0 ? {} : { queue: random.pick(queues) })),
  },
  {
    weight: 0.3,
    name: "replay",
    async run({ db, chainId, random, chain }) {
      const route = random.pick(app.routes.filter(route => !whyNotReplayed(route)));
      await replay({ db, app, chainId }, route, { fromBlock: random.below(chain.head.number + 1) });
    },
  },
  {
    weight: 2,
    name: "prune",
    async run({ db, chainId, random }) {
      // A shadow is made of the projections themselves: what is poison to these would be to it.
      const bad = poison.get(chainId);
      poison.delete(chainId);
      if (random.below(4) > 0) await advanceShadows(db, chainId);
      // As if the chain had been asked.
      await db.query("update checkpoint set audited_to = finalized_number where chain_id = $1", [chainId]);
      if (bad) poison.set(chainId, bad);
      await prune({ db, app, chainId, retention: 0, atOnce: { deliveries: 1 + random.below(20), events: 1 + random.below(40) } });
    },
  },
  { weight: 0.2, name: "forget a shadow", run: ({ db, chainId, random }) => forgetShadow(db, chainId, random.pick(app.projections).name) },
  { weight: 0.1, name: "rebuild", run: ({ db, chainId, random }) => rebuild({ db, app, chainId }, random.pick(app.projections).name) },
];

const total = STEPS.reduce((sum, { weight }) => sum + weight, 0);

export function someStep({ random }: Simulation): Step {
  let at = random.next() * total;
  return STEPS.find(({ weight }) => (at -= weight) < 0) ?? STEPS[0]!;
}
