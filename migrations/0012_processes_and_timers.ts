import type { Knex } from 'knex'

/** Tables of the service itself. No row belongs to a tenant. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table processes (
      id text primary key,
      role text not null,
      worker_ids text[] not null default '{}',
      started_at timestamptz not null default now(),
      heartbeat_at timestamptz not null default now()
    );

    create table timers (
      name text primary key,
      due_at timestamptz not null default now()
    );
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop table timers; drop table processes;`)
}
