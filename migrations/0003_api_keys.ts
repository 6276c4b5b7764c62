import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table api_keys (
      id text primary key,
      conference_id text references conferences (id),
      role text not null,
      sponsor_id text,
      scopes text[] not null default '{}',
      name text not null,
      secret_hash text not null,
      last4 text not null,
      expires_at timestamptz,
      revoked_at timestamptz,
      rotated_to text references api_keys (id),
      last_used_at timestamptz,
      created_by text not null,
      created_at timestamptz not null default now(),
      constraint api_keys_sponsor_fkey foreign key (conference_id, sponsor_id)
        references sponsors (conference_id, id),
      constraint api_keys_role_known check (role in ('operator', 'staff', 'sponsor')),
      constraint api_keys_operator_has_no_conference check ((role = 'operator') = (conference_id is null)),
      constraint api_keys_sponsor_role check ((role = 'sponsor') = (sponsor_id is not null)),
      constraint api_keys_scopes_are_staffs check (role = 'staff' or scopes = '{}')
    );
    create index api_keys_newest on api_keys (conference_id, created_at desc, id desc);
    create index api_keys_by_sponsor on api_keys (conference_id, sponsor_id);
  `)
  await protectByConference(knex, 'api_keys')
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop table api_keys;`)
}
