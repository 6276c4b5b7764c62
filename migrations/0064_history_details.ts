import type { Knex } from 'knex'
import { allowSystemTasks, protectByConference } from '../src/db/tenant-scope.ts'

/**
 * The history says why and how much: the reason's code, the amount in minor units of the purchase's currency,
 * and what staff wrote.
 *
 * `actor_names` has the name of everyone who can appear in the history: an id is found here, whatever table
 * it comes from. A trigger keeps it, because processes of the previous release create keys too. A row of no
 * conference, such as an operator's, can be read by every conference whose history has its id.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table purchase_transitions add column code text, add column amount bigint, add column note text;

    create table actor_names (
      id text primary key,
      conference_id text references conferences (id),
      kind text not null,
      name text not null,
      constraint actor_names_kind_known check (kind in ('operator', 'staff', 'sponsor'))
    );
  `)
  await protectByConference(knex, 'actor_names')
  await allowSystemTasks(knex, 'actor_names', { write: ['manage-conferences'] })
  await knex.raw(`
    create policy actor_names_of_platform on actor_names for select
      using (conference_id is null and current_setting('app.conference_id', true) <> '');

    select set_config('app.system_task', 'migrate', true);
    insert into actor_names select id, conference_id, role, name from api_keys;
    -- The actors without a row: the key of the settings, and the command line.
    insert into actor_names (id, kind, name)
      values ('operator', 'operator', 'Operator'), ('cli', 'operator', 'Command line');
    select set_config('app.system_task', '', true);

    create function api_keys_name_actor() returns trigger language plpgsql as $$
    begin
      insert into actor_names values (new.id, new.conference_id, new.role, new.name)
        on conflict (id) do update set name = excluded.name;
      return null;
    end $$;
    create trigger api_keys_actor_name after insert or update of name on api_keys
      for each row execute function api_keys_name_actor();
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop trigger api_keys_actor_name on api_keys;
    drop function api_keys_name_actor;
    drop table actor_names;
    alter table purchase_transitions drop column note, drop column amount, drop column code;
  `)
}
