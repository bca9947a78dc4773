import type { Migration } from "../db.ts";

/** The tables of the webhooks, forward only: what has run once is never edited. */
export const WEBHOOK_MIGRATIONS: readonly Migration[] = [
  {
    name: "webhooks-1",
    sql: `
      -- events: names such as Token.Transfer; none of them means every event. filter: see filter.ts. finality: "finalized",
      -- "safe", "latest" or a number of confirmations. timeout, wait: milliseconds. secrets: the newest first.
      create table webhooks (
        chain_id bigint not null,
        id text not null,
        url text not null,
        description text not null,
        events text[] not null,
        filter jsonb not null,
        finality text not null,
        ordered boolean not null,
        batch integer not null,
        wait integer not null,
        headers jsonb not null,
        timeout integer not null,
        concurrency integer not null,
        state text not null default 'active' check (state in ('active', 'paused', 'disabled')),
        reason text,
        secrets jsonb not null,
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now(),
        primary key (chain_id, id)
      );

      -- How far the journal has been made into messages: every event up to position and every reorg up to reorgs has been
      -- looked at. from_block: earlier events are not wanted. sequence: that of the last message. Written by the planner.
      create table webhook_cursors (
        chain_id bigint not null,
        endpoint text not null,
        position bigint not null,
        reorgs bigint not null,
        from_block bigint not null,
        sequence bigint not null default 0,
        primary key (chain_id, endpoint),
        foreign key (chain_id, endpoint) references webhooks on delete cascade
      );

      -- Who delivers to an endpoint now, until when unless it is renewed, and its breaker: open while probe_at is set, which
      -- is when one message is tried. failures: in a row. asked_at: when a worker was last asked to take a turn.
      create table webhook_turns (
        chain_id bigint not null,
        endpoint text not null,
        turn bigint not null default 0,
        asked_at timestamptz,
        holder text,
        until timestamptz not null default '-infinity',
        failures integer not null default 0,
        probes integer not null default 0,
        probe_at timestamptz,
        delivered bigint not null default 0,
        failed bigint not null default 0,
        primary key (chain_id, endpoint),
        foreign key (chain_id, endpoint) references webhooks on delete cascade
      );

      -- A message is one request: id is its webhook-id, events the positions that it tells of, in order. keys: the accounts
      -- that it must stay in order with. first_at: of the first attempt, from which the two days of trying are counted.
      create table webhook_messages (
        chain_id bigint not null,
        endpoint text not null,
        sequence bigint not null,
        id text not null,
        operation text not null check (operation in ('event', 'reverted', 'test')),
        events bigint[] not null,
        first_event bigint,
        last_event bigint,
        keys text[] not null,
        state text not null default 'pending' check (state in ('pending', 'done', 'dead')),
        attempts integer not null default 0,
        next_at timestamptz not null default now(),
        first_at timestamptz,
        status integer,
        error text,
        created_at timestamptz not null default now(),
        done_at timestamptz,
        primary key (chain_id, endpoint, sequence)
      ) with (fillfactor = 70);
      create index webhook_messages_pending on webhook_messages (chain_id, endpoint, sequence) where state = 'pending';
      create index webhook_messages_reverted on webhook_messages (chain_id, endpoint, sequence)
        where state = 'pending' and operation = 'reverted';
      create index webhook_messages_dead on webhook_messages (chain_id, endpoint, sequence) where state = 'dead';
      create index webhook_messages_by_event on webhook_messages (chain_id, endpoint, last_event) where operation = 'event';

      -- Every attempt, kept for a while. answer: the first KB of what the receiver said.
      create table webhook_attempts (
        chain_id bigint not null,
        endpoint text not null,
        number bigint generated always as identity,
        sequence bigint not null,
        attempt integer not null,
        at timestamptz not null,
        duration integer not null,
        status integer,
        error text,
        answer text,
        primary key (chain_id, endpoint, number)
      );
      create index webhook_attempts_by_time on webhook_attempts (at);
    `,
  },
  {
    // What was told of an event is looked for among reverted messages too, and without a look at the rows of all those
    // that end within MAX_SPREAD after it.
    name: "webhooks-2",
    sql: `
      drop index webhook_messages_by_event;
      create index webhook_messages_by_event on webhook_messages (chain_id, endpoint, last_event, first_event)
        where operation <> 'test';
    `,
  },
  {
    name: "webhooks-3",
    sql: `
      create index webhook_messages_tests on webhook_messages (chain_id, endpoint, sequence) where state = 'pending' and operation = 'test';
    `,
  },
];
