import type { FastifyInstance, FastifyReply } from "fastify";
import type { Db } from "../db.ts";

/** Milliseconds between two looks at the keys of answers that are still under way. */
const EVERY = 500;

/**
 * Cuts off answers that are still being sent, such as streams, when their key is revoked. Requests are checked one by one
 * as they come; an answer that lasts for hours has been checked at its beginning only.
 */
export function endWhatIsRevoked(server: FastifyInstance, db: Db): void {
  const underWay = new Map<FastifyReply, string>();
  const look = async () => {
    if (underWay.size === 0) return;
    const ids = [...new Set(underWay.values())];
    const { rows } = await db.query<{ id: string }>("select id from api_keys where id = any($1) and revoked_at is not null", [ids]);
    const revoked = new Set(rows.map(({ id }) => id));
    for (const [reply, id] of underWay) if (revoked.has(id)) reply.raw.destroy();
  };
  let looking = Promise.resolve();
  // While the database is away nobody can revoke anything; the next look finds it.
  const timer = setInterval(() => (looking = looking.then(look).catch(() => {})), EVERY).unref();
  server.addHook("onRequest", async ({ access }, reply) => {
    if (!access) return;
    underWay.set(reply, access.id);
    reply.raw.once("close", () => underWay.delete(reply));
  });
  server.addHook("onClose", async () => {
    clearInterval(timer);
    await looking;
  });
}
