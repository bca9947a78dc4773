import { relayCarried } from "./carry.ts";
import { type RelayOptions, relayQueue } from "./relay.ts";

export type Relay = {
  /** There may be new deliveries in these queues. Without a call they are found all the same, a little later. */
  wake(queues: Iterable<string>): void;
  /** Resolves when the relay has stopped, after its signal. */
  stopped: Promise<void>;
};

/** Moves the deliveries of every queue into BullMQ, for as long as this process leads. */
export function startRelay(options: RelayOptions): Relay {
  const wakers = new Map<string, () => void>();
  const loops = options.app.routes.map(route =>
    (route.carry ? relayCarried : relayQueue)(route, options, wake => wakers.set(route.queue, wake)),
  );
  return {
    wake(queues) {
      for (const queue of queues) wakers.get(queue)?.();
    },
    stopped: Promise.all(loops).then(() => {}),
  };
}
