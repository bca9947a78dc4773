import { type BackendFactory, PostgresConnection, type PostgresConnectionOptions, PostgresQueueBackend } from "bullmq";
import type pg from "pg";

type PgListenClient = Awaited<ReturnType<PostgresConnection["getListenClient"]>>;

/**
 * BullMQ's connection to Postgres, on a pool whose schema is known to be right.
 *
 * BullMQ looks at the schema once for each queue and worker, before their first statement, and keeps the answer, even where
 * it was a failure: a connection that broke in that moment made a queue refuse every job from then on, and a worker ask again
 * without a pause, so that its process did nothing else any more. Here nothing is asked, so nothing is kept.
 */
class SteadyConnection extends PostgresConnection {
  readonly #listens = new WeakSet<PgListenClient>();

  override async waitUntilReady(): Promise<void> {}

  /** Every connection listens. BullMQ takes one that was lost in the moment it began to for one that does, and its successors with it. */
  override async getListenClient(): Promise<PgListenClient> {
    const client = await super.getListenClient();
    if (!this.#listens.has(client)) {
      await client.query("listen bullmq_jobs");
      this.#listens.add(client);
    }
    return client;
  }

  /**
   * After an error a worker of BullMQ waits for an hour, or 10 s where it sees no keep-alive, for a notification that the
   * connection it lost may have taken along.
   */
  override get hasListenClientKeepAlive(): boolean {
    return false;
  }
}

/**
 * What `createPostgresBackend` does, on a `SteadyConnection`. A worker keeps a connection of the pool, by the name of its queue,
 * to be told of jobs: the pool grows by that, or there would be none left for statements.
 */
export const createSteadyBackend: BackendFactory<PostgresQueueBackend, PostgresConnectionOptions> = (name, options, roles) => {
  if (roles?.withBlockingConnection) (options.connection as pg.Pool).options.max += 1;
  return new PostgresQueueBackend(
    new SteadyConnection(options.connection),
    name,
    options,
    true,
    roles?.withBlockingConnection ? name : undefined,
  );
};
