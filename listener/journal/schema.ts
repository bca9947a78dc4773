import type { Migration } from "../db.ts";

/** The journal's tables, forward only: what has run once is never edited. */
export const JOURNAL_MIGRATIONS: readonly Migration[] = [
  {
    name: "journal-1",
    sql: `
      create table checkpoint (
        chain_id bigint primary key,
        genesis_hash text not null,
        instance text,
        start_block bigint not null,
        tip_number bigint,
        tip_hash text,
        finalized_number bigint,
        finalized_hash text,
        head_number bigint,
        head_at timestamptz,
        events bigint not null default 0,
        reorgs bigint not null default 0,
        audited_to bigint,
        writer text,
        epoch bigint not null default 0,
        lease_until timestamptz not null default '-infinity',
        updated_at timestamptz not null default now()
      );

      -- The contracts whose logs the journal holds, each from its deployment on: those with one of these first topics.
      -- included_to: how far the past of a contract or event that came later has been read; null where nothing is missing.
      create table contracts (
        chain_id bigint not null,
        address text not null,
        name text not null,
        start_block bigint not null,
        topics text[] not null default '{}',
        included_to bigint,
        primary key (chain_id, address)
      );

      create table blocks (
        chain_id bigint not null,
        number bigint not null,
        hash text not null,
        parent_hash text not null,
        timestamp bigint not null,
        primary key (chain_id, number)
      );

      -- position: contiguous per chain, given by the one writer. A block that is orphaned and comes back (A, B, A) gets new
      -- rows, so that each row is applied at most once and reverted at most once.
      create table events (
        chain_id bigint not null,
        position bigint not null,
        block_number bigint not null,
        block_hash text not null,
        block_timestamp bigint not null,
        transaction_hash text not null,
        transaction_index integer not null,
        log_index integer not null,
        address text not null,
        contract text not null,
        name text not null,
        arguments jsonb,
        topics text[] not null,
        data text not null,
        error text,
        live boolean not null default true,
        seen_at timestamptz not null,
        primary key (chain_id, position)
      );
      create unique index events_live on events (chain_id, block_hash, log_index) where live;
      create index events_by_block on events (chain_id, block_number, log_index);
      create index events_by_transaction on events (transaction_hash);
      create index events_by_name on events (chain_id, contract, name, position);

      -- position: contiguous per queue. events: positions of the events that it covers, in order (reverts: newest first);
      -- first_event and last_event bound them, and lie at most 10000 apart.
      create table deliveries (
        chain_id bigint not null,
        queue text not null,
        position bigint not null,
        operation text not null check (operation in ('apply', 'revert', 'run')),
        events bigint[] not null,
        first_event bigint not null,
        last_event bigint not null,
        key text,
        state text not null default 'pending' check (state in ('pending', 'sent', 'done', 'dead')),
        sends integer not null default 0,
        attempts integer not null default 0,
        last_error text,
        created_at timestamptz not null default now(),
        sent_at timestamptz,
        done_at timestamptz,
        primary key (chain_id, queue, position)
      );
      create index deliveries_open on deliveries (chain_id, queue, position) where state in ('pending', 'sent');
      create index deliveries_dead on deliveries (chain_id, queue, position) where state = 'dead';
      create index deliveries_by_event on deliveries (chain_id, queue, last_event);
      create index deliveries_by_key on deliveries (chain_id, queue, key, position) where key is not null and state <> 'done';

      -- created: the last position given out. events: the names of those that it has had from their beginning on.
      create table queues (
        chain_id bigint not null,
        queue text not null,
        created bigint not null default 0,
        events text[] not null default '{}',
        primary key (chain_id, queue)
      );
    `,
  },
  {
    name: "journal-2",
    sql: `
      -- The few that are not as the others, so that they are found without reading all of them.
      create index events_orphaned on events (chain_id, block_hash, log_index) where not live;
      create index events_orphaned_by_position on events (chain_id, position) where not live;
      create index events_undecodable on events (chain_id, position) where error is not null;
    `,
  },
  {
    name: "journal-3",
    sql: `
      -- replay: what is applied is taken back and applied again in one transaction, or what ran runs once more.
      alter table deliveries drop constraint deliveries_operation_check;
      alter table deliveries add constraint deliveries_operation_check check (operation in ('apply', 'revert', 'run', 'replay'));

      -- removed: how many of the positions given out have no delivery any more, or never had one. See the rebuild.
      alter table queues add column removed bigint not null default 0;
    `,
  },
  {
    name: "halt-1",
    sql: `
      -- While these are set nobody writes. See halt.ts.
      alter table checkpoint add column halted_reason text;
      alter table checkpoint add column halted_block bigint;
      alter table checkpoint add column halted_at timestamptz;

      -- What was taken back though it may have been final: events of these blocks, at positions up to last_event.
      create table resyncs (
        chain_id bigint not null,
        at timestamptz not null default now(),
        from_block bigint not null,
        last_event bigint not null,
        reason text
      );
      create index resyncs_by_chain on resyncs (chain_id, at);
    `,
  },
  {
    name: "stream-1",
    sql: `
      -- Each reorg, append only. number: checkpoint.reorgs with it. after_position: the last event recorded before it, so that
      -- events by position and reorgs by (after_position, number) are one order, which never changes. See changes.ts.
      -- ancestor: null where nothing of the chain was left. removed: positions of the events that it took, newest first.
      create table reorgs (
        chain_id bigint not null,
        number bigint not null,
        after_position bigint not null,
        ancestor_number bigint,
        ancestor_hash text,
        removed bigint[] not null,
        at timestamptz not null default now(),
        primary key (chain_id, number)
      );
    `,
  },
  {
    name: "stream-2",
    sql: `
      -- What happened in each span of step seconds from at (seconds since 1970), for charts. See activity.ts.
      create table activity (
        chain_id bigint not null,
        step integer not null,
        at bigint not null,
        metric text not null,
        label text not null,
        value bigint not null,
        primary key (chain_id, step, at, metric, label)
      ) with (fillfactor = 50);

      -- The backfill that the last commit was part of: its blocks, when it began, and how many events there were by then.
      alter table checkpoint add column backfill_from bigint;
      alter table checkpoint add column backfill_to bigint;
      alter table checkpoint add column backfill_began timestamptz;
      alter table checkpoint add column backfill_events bigint;
    `,
  },
  {
    name: "audit-1",
    sql: `
      -- epoch: that of the writer which committed the event. Positions go by the order of commits, so it never goes down.
      alter table events add column epoch bigint not null default 0;

      -- doubts: raised whenever something at or below audited_to changed, so that an audit that ran meanwhile claims nothing.
      -- audit_at, audit_failures: when the last audit ended, and what it found.
      alter table checkpoint add column doubts bigint not null default 0;
      alter table checkpoint add column audit_at timestamptz;
      alter table checkpoint add column audit_failures bigint;

      create index deliveries_sent on deliveries (chain_id, queue, position) where state = 'sent';

      -- The projections as an audit recomputes them, beside the real ones: see audit-shadow.ts. audited: deliveries of a queue
      -- up to this place are in them. audit_touched: keys of rows that were not compared yet since they changed there.
      create schema if not exists sluice_audit;
      create table audited (
        chain_id bigint not null,
        queue text not null,
        position bigint not null,
        primary key (chain_id, queue)
      );
      create table audit_touched (
        chain_id bigint not null,
        relation text not null,
        key jsonb not null,
        primary key (chain_id, relation, key)
      );
      create function note_touched() returns trigger language plpgsql as $body$
      declare
        changed jsonb;
      begin
        if tg_op = 'DELETE' then changed := to_jsonb(old); else changed := to_jsonb(new); end if;
        insert into sluice.audit_touched (chain_id, relation, key)
        select (changed ->> 'chain_id')::bigint, tg_table_name, jsonb_object_agg(name, changed -> name) from unnest(tg_argv) as name
        on conflict do nothing;
        return null;
      end
      $body$;
    `,
  },
  {
    name: "nodes-1",
    sql: `
      -- What the writer knows of the nodes that it asks; their URLs without secrets.
      create table nodes (
        chain_id bigint not null,
        url text not null,
        state text not null check (state in ('ok', 'resting', 'limited', 'refused', 'behind', 'lying')),
        reason text,
        -- Milliseconds of a small call; requests a second that it was found to allow.
        latency double precision,
        rate_limit double precision,
        since timestamptz not null,
        primary key (chain_id, url)
      );
    `,
  },
  {
    name: "late-1",
    sql: `
      -- The last position whose event came out of the chain's order: the past of a contract or event that joined later.
      alter table checkpoint add column late_to bigint;
      -- Where such a past was read before this column was there, which ones is not known any more.
      update checkpoint c set late_to = c.events where exists (
        select from events e join events later on later.chain_id = e.chain_id and later.position = e.position + 1
        where e.chain_id = c.chain_id and e.live and later.live and later.block_number < e.block_number
      );
    `,
  },
  {
    name: "carry-1",
    sql: `
      -- planned_to: of a queue that does not follow the head, the last block whose events it has deliveries for. See waiting.ts.
      alter table queues add column planned_to bigint;
      update queues q set planned_to = c.finalized_number from checkpoint c where c.chain_id = q.chain_id;
    `,
  },
  {
    name: "relay-1",
    sql: `
      -- For those alone who look for an event. A planner without statistics takes a whole queue for one row, and would read
      -- all of it by this index, of which chain and queue are the beginning, to find some positions.
      drop index deliveries_by_event;
      create index deliveries_by_event on deliveries (chain_id, queue, last_event) where last_event is not null;
    `,
  },
  {
    name: "retention-1",
    sql: `
      -- Deliveries that are done and no longer kept: see pruned.ts and retention.ts.
      create table pruned (
        chain_id bigint not null,
        queue text not null,
        event text not null,
        up_to bigint not null,
        primary key (chain_id, queue, event)
      );
      -- pruned: how many of them there were. restarts: how often what was audited of the queue had to be forgotten.
      alter table queues add column pruned bigint not null default 0;
      alter table queues add column restarts bigint not null default 0;
      -- restarts: those of the queue when its shadow began. priming: the event up to which what was pruned is in it; null where all is.
      alter table audited add column restarts bigint not null default 0;
      alter table audited add column priming bigint;
      -- A rebuild was known by this so far: it leaves no delivery at or below the places that were audited.
      update queues q set restarts = 1 where exists (
        select from audited a where a.chain_id = q.chain_id and a.queue = q.queue and a.position > 0 and not exists (
          select from deliveries d where d.chain_id = a.chain_id and d.queue = a.queue and d.position <= a.position));
    `,
  },
  {
    name: "shadow-1",
    sql: `
      -- The block up to which rows of single events left the queue's shadow. So far they left whether final or not: all begin anew.
      alter table audited add column settled bigint not null default -1;
      update audited set restarts = -1;
    `,
  },
  {
    name: "relay-2",
    sql: `
      -- sent_to: jobs were made of the deliveries that are 'sent' up to this place. Those behind it wait for room in the window.
      alter table queues add column sent_to bigint not null default 0;
      update queues q set sent_to = coalesce(
        (select max(position) from deliveries d where d.chain_id = q.chain_id and d.queue = q.queue and d.state = 'sent'), 0);
      create index deliveries_pending on deliveries (chain_id, queue, position) where state = 'pending';
      -- The open ones that later deliveries of their queue wait for.
      create index deliveries_barring on deliveries (chain_id, queue)
        where state in ('pending', 'sent') and operation in ('revert', 'replay');
    `,
  },
  {
    name: "journal-4",
    sql: `
      -- How many rows of the same block, transaction and name begin with this one; null in all but the first: see runs.ts.
      alter table events add column of_block smallint default 1, add column of_transaction smallint default 1,
        add column of_name smallint default 1;
      drop index events_live;
      drop index events_by_transaction;
      drop index events_by_name;
      create unique index events_live on events (chain_id, block_hash, log_index) where live and of_block is not null;
      create index events_by_transaction on events (transaction_hash) where of_transaction is not null;
      create index events_by_name on events (chain_id, contract, name, position) where of_name is not null;

      -- Events with the first position of their run, from which those of a contract and name come in order: run, then position.
      create view named_events as
      select r.chain_id, r.contract, r.name, r.position as run, e.position, e.block_number, e.block_hash, e.block_timestamp,
        e.transaction_hash, e.transaction_index, e.log_index, e.address, e.arguments, e.topics, e.data, e.error, e.live, e.seen_at, e.epoch
      from events r cross join lateral (
        select * from events where chain_id = r.chain_id and position >= r.position and position < r.position + r.of_name offset 0
      ) e
      where r.of_name is not null;
    `,
  },
];
