/** A deliberate fault in the listener: one piece of a file replaced by another, and the test that must notice. */
export type Mutant = { name: string; file: string; replace: string; by: string; caughtBy: { file: string; test: string } };

const [follow, source] = ["listener/chain/follow.ts", "listener/chain/source.ts"];
const [journal, lease] = ["listener/journal/journal.ts", "listener/journal/lease.ts"];
const [relay, worker] = ["listener/queues/relay.ts", "listener/worker/worker.ts"];

/** The test file that mirrors a file of the listener. */
const mirror = (file: string, test: string) => ({ file: `test/${file.replace(".ts", ".test.ts")}`, test });

const MARK = `where ${"$"}{row} and state = 'sent'`;
const LEFT = `and tip_hash = ${"$"}{own(1)} and events = ${"$"}{own(2)}`;
const CHECKED = "where chain_id = $1 and epoch = $2 and tip_hash is not distinct from $3::text returning events";

export const mutants: readonly Mutant[] = [
  {
    name: "no done mark: a done delivery is done again",
    file: worker,
    replace: MARK,
    by: MARK.replace("state = 'sent'", "state in ('sent', 'done')"),
    caughtBy: mirror(worker, "is not moved by jobs that are doubled, forged or late"),
  },
  {
    name: "no done mark for tasks: what is done is run again",
    file: worker,
    replace: "position = any($3) and state = 'sent'\"",
    by: 'position = any($3)"',
    caughtBy: mirror(worker, "runs a task for no delivery that is done, and its batch in order, whatever jobs come late"),
  },
  {
    name: "mark and effect in two transactions",
    file: worker,
    replace: '(tx, opened) => project(tx, position, opened), "read committed", opening(position))',
    by: 'async (_, opened) => opened, "read committed", opening(position)).then(marked => transaction(db, tx => project(tx, position, marked)))',
    caughtBy: mirror(worker, "leaves nothing of an effect whose projection throws after it wrote"),
  },
  {
    name: "what a reorg took is applied all the same",
    file: worker,
    replace: "rows.filter(event => event.live)",
    by: "rows",
    caughtBy: mirror(worker, "neither applies nor reverts what a reorg took before its turn came"),
  },
  {
    name: "a dead letter is reverted",
    file: "listener/journal/applied.ts",
    replace: "done: \"d.state = 'done'\"",
    by: "done: \"d.state in ('done', 'dead')\"",
    caughtBy: mirror(worker, "does not revert a dead letter: nothing of it was applied"),
  },
  {
    name: "no re-send of what its queue lost",
    file: relay,
    replace: "await resendLost(db, jobs, { chainId, queue, resendAfter, log });",
    by: "",
    caughtBy: mirror(relay, "sends everything again that its queue lost"),
  },
  {
    name: "the mark moves on before the jobs are added, and nobody looks back",
    file: relay,
    replace: "if (Date.now() - lookedAt >= resendAfter)",
    by: "if (false)",
    caughtBy: mirror(relay, "goes on where another relay was stopped between its mark and its jobs"),
  },
  {
    name: "what is stored as sent does not look for what it has to wait for",
    file: "listener/journal/deliveries.ts",
    replace: "and b.operation in ('revert', 'replay')",
    by: "and false",
    caughtBy: mirror(relay, "has what comes after a revert wait for it, room or not"),
  },
  {
    name: "no window for what is stored as sent",
    file: relay,
    replace: "greatest(0, $3 - n) from busy",
    by: "1000000",
    caughtBy: mirror(relay, "has no more jobs than the window of what was stored as sent, however much that is"),
  },
  {
    name: "a new relay looks only for what was lost long ago",
    file: relay,
    replace: "let resendAfter = 0;",
    by: "let resendAfter = options.resendAfter ?? 3_000;",
    caughtBy: mirror(relay, "adds at once what another listener stored as sent and did not live to add"),
  },
  {
    name: "no window",
    file: relay,
    replace: "db.query<Sent>(CLAIM, [chainId, route.queue, window, carried])",
    by: "db.query<Sent>(CLAIM, [chainId, route.queue, window + 1_000_000, carried])",
    caughtBy: mirror(relay, "keeps no more than the window in flight, whatever waits behind it"),
  },
  {
    name: "reverts do not wait for the applies before them",
    file: relay,
    replace: "where o.operation <> f.operation and",
    by: "where false and",
    caughtBy: mirror(relay, "sends reverts when every earlier apply is settled, and later applies when the reverts are"),
  },
  {
    name: "no order in a lane",
    file: relay,
    replace: "e.key = d.key and e.position < d.position and e.state <> 'done'",
    by: "false",
    caughtBy: mirror(relay, "keeps the order of a key while other keys run beside it"),
  },
  {
    name: "no check of the parent",
    file: follow,
    replace: "if (known.holds(header.parentHash)) break;",
    by: "if (header.number === known.next()) break;",
    caughtBy: mirror(follow, "finds a reorg that goes back to the very first block"),
  },
  {
    name: "a lower head is taken for a reorg",
    file: follow,
    replace: "const atOurTip = await source.headerByNumber(tip.number);",
    by: "const atOurTip = head;",
    caughtBy: mirror(follow, "does not take a node that lags on another branch for a reorg until it reaches our tip"),
  },
  {
    name: "a final block may be replaced",
    file: follow,
    replace: "if (final && header.number <= final.number)",
    by: "if (false)",
    caughtBy: mirror(follow, "refuses a reorg past the finalized block, and names it"),
  },
  {
    name: "the bloom is not looked at",
    file: "listener/chain/log-reader.ts",
    replace: "return first.missing ? askAgain(header, first.node) : first.logs;",
    by: "return first.logs;",
    caughtBy: mirror(source, "asks a second time when a block's bloom promises a log that the answer lacks"),
  },
  {
    name: "no compare-and-set of the tip",
    file: journal,
    replace: CHECKED,
    by: CHECKED.replace("tip_hash is not distinct from $3::text", "($3::text is null or true)"),
    caughtBy: mirror(journal, "refuses a writer whose tip is not the journal's, although its epoch holds"),
  },
  {
    name: "no check of the epoch",
    file: journal,
    replace: CHECKED,
    by: CHECKED.replace("epoch = $2", "epoch >= $2"),
    caughtBy: mirror(journal, "refuses a writer of an earlier epoch, although its tip holds"),
  },
  {
    name: "goes on with a prepared statement that no longer fits",
    file: "listener/db.ts",
    replace: 'if (UNPREPARED.has((error as { code?: string }).code ?? "")) broken',
    by: 'if ("code" in (error as object) && false) broken',
    caughtBy: mirror("listener/db.ts", "gives up a connection whose prepared statement means a table that has changed"),
  },
  {
    name: "blocks at the head go on top of whatever is there",
    file: "listener/journal/live.ts",
    replace: LEFT,
    by: LEFT.replace("tip_hash = ", "'' <> ").replace("events = ", "0 <= "),
    caughtBy: mirror("listener/journal/live.ts", "changes nothing where another writer was there, and steps down"),
  },
  {
    name: "reverts in the order of the applies",
    file: "listener/journal/take-back.ts",
    replace: "from orphaned order by position desc",
    by: "from orphaned order by position",
    caughtBy: mirror(journal, "reverts what a reorg took, newest first, and keeps the rows"),
  },
  {
    name: "events in a transaction of their own",
    file: journal,
    replace: "await copyRows(tx, rows, first);\n    const straight",
    by: "await transaction(db, own => copyRows(own, rows, first));\n    const straight",
    caughtBy: mirror(journal, "commits nothing at all of an update that fails half-way"),
  },
  {
    name: "the lease runs by this machine's clock",
    file: lease,
    replace: "lease_until < clock_timestamp() or writer",
    by: `lease_until < to_timestamp(${"$"}{Date.now() / 1_000}) or writer`,
    caughtBy: mirror(lease, "asks nothing of this machine's clock"),
  },
  {
    name: "a take-over keeps the epoch",
    file: lease,
    replace: "set epoch = epoch + 1, writer",
    by: "set epoch = epoch, writer",
    caughtBy: mirror(lease, "goes to the next when it ran out by the database's clock"),
  },
];
