import type { Handed } from "../journal/deliveries.ts";
import { relayCarried } from "./carry.ts";
import { type Desk, isReleased, type RelayOptions, relayQueue } from "./relay.ts";

export type Relay = {
  /** There may be new deliveries in these queues. Without a call they are found all the same, a little later. */
  wake(queues: Iterable<string>): void;
  /** Queues whose deliveries may be stored as sent: see `Release`. */
  released: ReadonlySet<string>;
  /** Whether so many jobs of a queue may be added now; if so, they are counted on. */
  take(queue: string, count: number): boolean;
  /** Adds the jobs of what was taken and is committed. */
  add(handed: readonly Handed[]): void;
  /** Resolves when the relay has stopped, after its signal. */
  stopped: Promise<void>;
};

/** Moves the deliveries of every queue into BullMQ, for as long as this process leads. */
export function startRelay(options: RelayOptions): Relay {
  const desks = new Map<string, Desk>();
  const { routes } = options.app;
  const loops = routes.map(route => (route.carry ? relayCarried : relayQueue)(route, options, desk => desks.set(route.queue, desk)));
  return {
    wake(queues) {
      for (const queue of queues) desks.get(queue)?.wake();
    },
    released: new Set(routes.filter(isReleased).map(({ queue }) => queue)),
    take: (queue, count) => desks.get(queue)?.take?.(count) ?? false,
    add(handed) {
      for (const [queue, own] of Map.groupBy(handed, ({ queue }) => queue)) desks.get(queue)?.add?.(own);
    },
    stopped: Promise.all(loops).then(() => {}),
  };
}
