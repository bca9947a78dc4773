import type { Socket } from "node:net";
import pg from "pg";
import { atMost } from "./db.ts";
import type { Log } from "./log.ts";

/** A connection of pg with what its types do not tell: whether no statement is under way, and its socket. */
type Connection = { readyForQuery?: boolean; connection: { stream: Socket } };

const ours = (client: pg.ClientBase) => client as unknown as Connection;

/**
 * Watches a pool for connections that wait for an answer which the network dropped: TCP gives them up only after a quarter of
 * an hour. A statement may take as long as it likes for as long as Postgres answers somebody: where a connection has said
 * nothing for a while, Postgres is asked on a new one, and only where that is not answered either the old one is ended, so that
 * its statement fails as in any other outage.
 *
 * @param every milliseconds between two looks
 * @param within milliseconds that a statement may be silent, and then the answer on a new connection
 * @returns ends the watch
 */
export function watchSilence(
  pool: pg.Pool,
  { log, every = 5_000, within = 10_000 }: { log: Log; every?: number; within?: number },
): () => void {
  const heard = new Map<Connection, { bytes: number; at: number }>();
  pool.on("connect", client => void heard.set(ours(client), { bytes: -1, at: 0 }));
  pool.on("remove", client => void heard.delete(ours(client)));

  function silent(): Connection[] {
    const now = performance.now();
    return [...heard].flatMap(([client, last]) => {
      const bytes = client.connection.stream.bytesRead;
      if (!client.readyForQuery && bytes === last.bytes) return now - last.at < within ? [] : [client];
      heard.set(client, { bytes, at: now });
      return [];
    });
  }

  let asking = false;
  async function look(): Promise<void> {
    const suspects = silent();
    if (asking || suspects.length === 0) return;
    asking = true;
    const spoke = await answers(pool.options, within);
    asking = false;
    const lost = spoke ? [] : silent().filter(client => suspects.includes(client));
    for (const client of lost) client.connection.stream.destroy(new Error("Connection terminated: Postgres does not answer any more"));
    if (lost.length > 0) log.warn({ connections: lost.length }, "Postgres has gone silent; its connections are given up");
  }

  const timer = setInterval(() => void look(), every);
  timer.unref();
  return () => clearInterval(timer);
}

/** Whether Postgres says anything to a new connection, and be it that there are too many. */
async function answers(options: pg.PoolOptions, within: number): Promise<boolean> {
  const client = new pg.Client(options);
  client.on("error", () => {});
  const asked = client
    .connect()
    .then(() => client.query("select 1"))
    .then(
      () => true,
      error => error instanceof pg.DatabaseError,
    );
  const answered = (await atMost(within, asked)) ?? false;
  if (answered) client.end().catch(() => {});
  else ours(client).connection.stream.destroy();
  return answered;
}
