import type { App } from "../app.ts";
import { type Db, transaction } from "../db.ts";
import { coversEvent } from "../journal/deliveries.ts";
import type { Occurrence } from "../journal/events.ts";
import { liveEventOf } from "../journal/runs.ts";
import { ENDPOINT_COLUMNS, type EndpointRow, toEndpoint } from "./endpoints.ts";
import { createMatcher } from "./filter.ts";
import { COLUMNS, group, insertMessages } from "./plan.ts";

/** Which events to tell again: those of blocks from … to …, of one name, or the one with this id. */
export type ReplayChoice = { fromBlock?: number; toBlock?: number; event?: string; id?: string };

type Target = { db: Db; app: App; chainId: number; endpoint: string };

/** Events of one transaction at most. */
const PAGE = 1_000;

/**
 * Tells an endpoint once more of what it wants among these events, under the ids that they have had: a receiver that drops
 * repetitions drops these too. Only events that are live and that it has been told of, or would have been by now; those with
 * a message that is still pending are left alone.
 *
 * @returns how many messages that makes; undefined where there is no such endpoint
 */
export async function replayMessages({ db, app, chainId, endpoint: id }: Target, choice: ReplayChoice): Promise<number | undefined> {
  const [, blockHash, logIndex] = /^\d+-(0x[0-9a-f]{64})-(\d{1,9})$/.exec(choice.id ?? "") ?? [];
  let count = 0;
  for (let after: number | undefined = 0; after !== undefined; ) {
    const from: number = after;
    const page = await transaction(db, async tx => {
      const { rows: cursors } = await tx.query<{ position: number }>(
        "select position from webhook_cursors where chain_id = $1 and endpoint = $2 for update",
        [chainId, id],
      );
      const { rows: endpoints } = await tx.query<EndpointRow>(
        `select ${ENDPOINT_COLUMNS} from webhooks w where chain_id = $1 and id = $2`,
        [chainId, id],
      );
      const [cursor, found] = [cursors[0], endpoints[0]];
      if (!cursor || !found) return undefined;
      const endpoint = toEndpoint(found);
      const { rows } = await tx.query<Occurrence>(
        `select ${COLUMNS} from events e
         where chain_id = $1 and position > $2 and position <= $3 and live and arguments is not null
           and block_number between $4 and $5 and ($6::text is null or contract || '.' || name = $6)
           and ($7::text is null or position = (select position from ${liveEventOf("$1", "$7", "$8::integer")} one))
           and not exists (
             select from webhook_messages m where m.chain_id = e.chain_id and m.endpoint = $9 and m.state = 'pending'
               and m.operation = 'event' and ${coversEvent("e.position", "m")})
         order by position limit $10`,
        [
          chainId,
          from,
          cursor.position,
          choice.fromBlock ?? 0,
          choice.toBlock ?? Number.MAX_SAFE_INTEGER,
          choice.event ?? null,
          choice.id === undefined ? null : (blockHash ?? ""),
          logIndex === undefined ? null : Number(logIndex),
          id,
          PAGE,
        ],
      );
      const drafts = group(app, endpoint, rows.filter(createMatcher(app, endpoint)), "event");
      await insertMessages(tx, chainId, id, drafts);
      return { count: drafts.length, next: rows.length === PAGE ? rows.at(-1)!.position : undefined };
    });
    if (!page) return undefined;
    count += page.count;
    after = page.next;
  }
  return count;
}

/** Tells an endpoint of nothing, to see at once whether it answers, also where its breaker is open. Gives the message's place. */
export async function sendTest(db: Db, chainId: number, id: string): Promise<{ sequence: number; id: string } | undefined> {
  return transaction(db, async tx => {
    const name = `test-${id}-${Date.now()}`;
    const sequence = await insertMessages(tx, chainId, id, [{ operation: "test", id: name, rows: [], keys: [] }]);
    await tx.query("update webhook_turns set probe_at = now() where chain_id = $1 and endpoint = $2 and probe_at > now()", [chainId, id]);
    return sequence === undefined ? undefined : { sequence, id: name };
  });
}

/** Sends dead letters again, all or one: as if they had never been tried. What a reorg took since is left. Gives how many. */
export async function retryDead(db: Db, chainId: number, id: string, sequence?: number): Promise<number> {
  const { rowCount } = await db.query(
    `update webhook_messages m set state = 'pending', next_at = now(), first_at = null, done_at = null
     where chain_id = $1 and endpoint = $2 and state = 'dead' and ($3::bigint is null or sequence = $3)
       and (operation <> 'event' or not exists (
         select from events e where e.chain_id = m.chain_id and e.position = any(m.events) and not e.live))`,
    [chainId, id, sequence ?? null],
  );
  return rowCount ?? 0;
}
