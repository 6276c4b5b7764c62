import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

/**
 * One row for each Idempotency-Key of a write, inserted in the transaction of the first
 * change. `resource` is the id of what it created, so that a repeat resumes it.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table idempotency_keys (
      conference_id text,
      caller text not null,
      key text not null,
      fingerprint text not null,
      resource text,
      owner bigint,
      answer_sealed text,
      created_at timestamptz not null default now(),
      primary key (caller, key),
      constraint idempotency_keys_key_length check (length(key) between 1 and 255)
    );
    create index idempotency_keys_oldest on idempotency_keys (created_at);
  `)
  await protectByConference(knex, 'idempotency_keys')
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop table idempotency_keys;`)
}
