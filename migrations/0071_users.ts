import type { Knex } from 'knex'
import { allowSystemTasks, protectByConference } from '../src/db/tenant-scope.ts'

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table users (
      id text primary key,
      conference_id text references conferences (id),
      email text not null,
      email_key text not null generated always as (lower(email)) stored,
      name text,
      role text not null,
      sponsor_id text,
      scopes text[] not null default '{}',
      invited_by text not null,
      last_seen_at timestamptz,
      removed_at timestamptz,
      created_at timestamptz not null default now(),
      constraint users_sponsor_fkey foreign key (conference_id, sponsor_id)
        references sponsors (conference_id, id),
      constraint users_role_known check (role in ('operator', 'staff', 'sponsor')),
      constraint users_operator_has_no_conference check ((role = 'operator') = (conference_id is null)),
      constraint users_sponsor_role check ((role = 'sponsor') = (sponsor_id is not null)),
      constraint users_scopes_are_staffs check (role = 'staff' or scopes = '{}'),
      constraint users_email_length check (length(email) between 3 and 254),
      constraint users_name_length check (length(name) between 1 and 200)
    );
    -- A removed user stays for the history, and the address can be invited again.
    create unique index users_email_key on users (conference_id, email_key)
      nulls not distinct where removed_at is null;
    create index users_newest on users (conference_id, created_at desc, id desc);
    create index users_by_sponsor on users (conference_id, sponsor_id);
    create index users_by_email on users (email_key) where removed_at is null;

    -- A person signs in once for all conferences, so both tables have no conference.
    create table sign_in_links (
      id text primary key,
      secret_hash text not null,
      email_key text not null,
      created_at timestamptz not null default now(),
      expires_at timestamptz not null,
      used_at timestamptz
    );
    create index sign_in_links_by_email on sign_in_links (email_key, created_at);
    create index sign_in_links_by_expiry on sign_in_links (expires_at);

    create table sessions (
      id text primary key,
      secret_hash text not null,
      email_key text not null,
      method text not null,
      user_agent text,
      created_at timestamptz not null default now(),
      last_seen_at timestamptz not null default now(),
      expires_at timestamptz not null,
      ended_at timestamptz,
      constraint sessions_method_known check (method in ('link', 'oidc')),
      constraint sessions_user_agent_length check (length(user_agent) <= 300)
    );
    create index sessions_by_email on sessions (email_key, created_at desc, id desc);
    create index sessions_by_expiry on sessions (expires_at);

    alter table sign_in_links enable row level security;
    alter table sign_in_links force row level security;
    alter table sessions enable row level security;
    alter table sessions force row level security;
  `)
  await protectByConference(knex, 'users')
  // No timer needs addresses of people.
  await knex.raw('drop policy users_search on users')
  await allowSystemTasks(knex, 'users', { write: ['authenticate', 'manage-conferences'] })
  await allowSystemTasks(knex, 'sign_in_links', { write: ['authenticate', 'prune'] })
  await allowSystemTasks(knex, 'sessions', { write: ['authenticate', 'prune'] })
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table sessions; drop table sign_in_links; drop table users;')
}
