import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table conferences (
      id text primary key,
      slug text not null constraint conferences_slug_key unique,
      name text not null,
      currency text not null,
      livemode boolean,
      stripe_account text,
      stripe_secret_key_sealed text,
      stripe_secret_key_last4 text,
      stripe_key_set_at timestamptz,
      max_quantity integer not null default 500,
      code_length integer not null default 12,
      allowed_origins text[] not null default '{}',
      checkout_expires_after_minutes integer not null default 1440,
      invoice_creation boolean not null default false,
      tax_id_collection boolean not null default false,
      events_checked_until timestamptz,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      constraint conferences_slug_shape check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
      constraint conferences_currency_shape check (currency ~ '^[A-Z]{3}$'),
      constraint conferences_max_quantity_range check (max_quantity between 1 and 1000000),
      constraint conferences_code_length_range check (code_length between 8 and 32),
      constraint conferences_checkout_expiry_range check (checkout_expires_after_minutes = 1440
        or checkout_expires_after_minutes between 31 and 1435),
      constraint conferences_key_whole check ((stripe_secret_key_sealed is null) = (livemode is null)
        and (stripe_secret_key_sealed is null) = (stripe_key_set_at is null))
    );
    create index conferences_newest on conferences (created_at desc, id desc);

    create table webhook_secrets (
      conference_id text not null references conferences (id),
      id text not null,
      secret_sealed text not null,
      last4 text not null,
      created_at timestamptz not null default now(),
      primary key (conference_id, id)
    );
  `)
  await protectByConference(knex, 'conferences', 'id')
  await protectByConference(knex, 'webhook_secrets')
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop table webhook_secrets; drop table conferences;`)
}
