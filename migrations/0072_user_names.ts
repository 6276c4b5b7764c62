import type { Knex } from 'knex'

/** The history names users as it names keys. A user without a name appears with the e-mail address. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create function users_name_actor() returns trigger language plpgsql as $$
    begin
      insert into actor_names
        values (new.id, new.conference_id, new.role, coalesce(new.name, new.email))
        on conflict (id) do update set name = excluded.name;
      return null;
    end $$;
    create trigger users_actor_name after insert or update of name, email on users
      for each row execute function users_name_actor();
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop trigger users_actor_name on users; drop function users_name_actor;')
}
