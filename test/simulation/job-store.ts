import type { Jobs } from "../../listener/queues/relay.ts";
import type { Random } from "../../scripts/support/random.ts";

type Held = { id: string; position: number; state: "waiting" | "active"; from: number };

/**
 * Jobs as BullMQ would hold them, and everything that may happen to them: they come twice, late, out of order, get lost, or
 * were never sent by us. `now` is the virtual time (ms).
 */
export function jobStore(random: Random, now: () => number) {
  const queues = new Map<string, Map<string, Held>>();
  let full = false;
  let forged = 0;
  const of = (queue: string) => {
    let held = queues.get(queue);
    if (!held) queues.set(queue, (held = new Map()));
    return held;
  };
  const everything = () => [...queues.values()].flatMap(held => [...held.values()]);

  return {
    /** The queue as the relay sees it. */
    jobs: (queue: string): Jobs =>
      ({
        async addBulk(list: { data: { position: number }; opts: { jobId: string } }[]) {
          // A full Redis takes the first ones and then throws.
          const taken = full ? list.slice(0, random.below(list.length)) : list;
          for (const { data, opts } of taken) {
            if (!of(queue).has(opts.jobId))
              of(queue).set(opts.jobId, { id: opts.jobId, position: data.position, state: "waiting", from: now() });
          }
          if (full) throw new Error("OOM command not allowed when used memory > 'maxmemory'");
          return [];
        },
        getJob: async (id: string) => of(queue).get(id),
      }) as unknown as Jobs,
    /** A job that is due, mostly the oldest. */
    take(queue: string): Held | undefined {
      const due = [...of(queue).values()].filter(job => job.state === "waiting" && job.from <= now());
      const job = random.below(5) === 0 ? due[random.below(due.length)] : due[0];
      if (job) job.state = "active";
      return job;
    },
    done: (queue: string, { id }: Held) => void of(queue).delete(id),
    /** Another try, later. */
    retry(job: Held) {
      job.state = "waiting";
      job.from = now() + 100 + random.below(2_000);
    },
    /** The worker is dead: after a while its job is taken up by another one. */
    stall(job: Held) {
      job.state = "waiting";
      job.from = now() + 6_000;
    },
    duplicate(queue: string) {
      const held = [...of(queue).values()];
      if (held.length === 0) return;
      const id = `again-${++forged}`;
      of(queue).set(id, { ...random.pick(held), id, state: "waiting", from: now() + random.below(3_000) });
    },
    forge(queue: string, most: number) {
      const id = `forged-${++forged}`;
      of(queue).set(id, { id, position: random.below(most + 3), state: "waiting", from: now() });
    },
    flush() {
      for (const held of queues.values()) held.clear();
    },
    /** The newest jobs are gone, as after a crash that lost the end of the append-only file. */
    loseTail() {
      for (const held of queues.values()) for (const id of [...held.keys()].slice(-1 - random.below(5))) held.delete(id);
    },
    setFull(is: boolean) {
      full = is;
    },
    size: () => everything().length,
    /** When the next job is due. */
    nextAt: () => everything().reduce((soonest, { from }) => Math.min(soonest, from), Number.POSITIVE_INFINITY),
  };
}

export type JobStore = ReturnType<typeof jobStore>;
