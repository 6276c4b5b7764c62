import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table sponsor_levels (
      conference_id text not null references conferences (id),
      id text not null,
      name text not null,
      slug text not null,
      comp_ticket_count integer not null default 0,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (conference_id, id),
      constraint sponsor_levels_slug_key unique (conference_id, slug),
      constraint sponsor_levels_comp_ticket_count_range check (comp_ticket_count between 0 and 10000)
    );
    create index sponsor_levels_newest on sponsor_levels (conference_id, created_at desc, id desc);

    create table sponsors (
      conference_id text not null references conferences (id),
      id text not null,
      name text not null,
      slug text not null,
      external_id text,
      contact_email text,
      level_id text,
      comps_issued_at timestamptz,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      primary key (conference_id, id),
      constraint sponsors_slug_key unique (conference_id, slug),
      constraint sponsors_external_id_key unique (conference_id, external_id),
      constraint sponsors_level_fkey foreign key (conference_id, level_id)
        references sponsor_levels (conference_id, id),
      constraint sponsors_slug_shape check (slug ~ '^[a-z0-9][a-z0-9-]{0,199}$')
    );
    create index sponsors_newest on sponsors (conference_id, created_at desc, id desc);
    create index sponsors_by_level on sponsors (conference_id, level_id);
  `)
  await protectByConference(knex, 'sponsor_levels')
  await protectByConference(knex, 'sponsors')
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop table sponsors; drop table sponsor_levels;`)
}
