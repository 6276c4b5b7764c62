import type { Knex } from 'knex'

/** The name and e-mail address that a customer has in place of its sponsor's. Null: the sponsor's. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table customers
      add column name text,
      add column email text,
      add constraint customers_name_shape check (name <> ''),
      add constraint customers_email_shape check (email <> '');
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`alter table customers drop column name, drop column email;`)
}
