import type { Knex } from 'knex'

/**
 * Flags contain the time of their purchase, so that an index has the purchases with open flags in the order
 * of the list. A trigger fills it in, because processes of the previous release raise flags too.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    select set_config('app.system_task', 'migrate', true);
    alter table purchase_flags add column purchased_at timestamptz;
    update purchase_flags f set purchased_at = p.created_at from bulk_purchases p
      where p.conference_id = f.conference_id and p.id = f.purchase_id;
    alter table purchase_flags alter column purchased_at set not null;
    select set_config('app.system_task', '', true);

    create function set_purchased_at() returns trigger language plpgsql as $$
    begin
      select created_at into new.purchased_at from bulk_purchases p
        where p.conference_id = new.conference_id and p.id = new.purchase_id;
      return new;
    end $$;
    create trigger purchase_flags_purchased_at before insert on purchase_flags
      for each row execute function set_purchased_at();

    drop index purchase_flags_open;
    create index purchase_flags_open
      on purchase_flags (conference_id, code, purchased_at desc, purchase_id desc) where resolved_at is null;
    create index purchase_flags_open_newest
      on purchase_flags (conference_id, purchased_at desc, purchase_id desc) where resolved_at is null;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop index purchase_flags_open_newest;
    drop index purchase_flags_open;
    drop trigger purchase_flags_purchased_at on purchase_flags;
    drop function set_purchased_at;
    alter table purchase_flags drop column purchased_at;
    create index purchase_flags_open on purchase_flags (conference_id, code, purchase_id)
      where resolved_at is null;
  `)
}
