import type { Knex } from 'knex'

/** What sponsors need who pay by bank transfer. Null: a conference takes none. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table conferences
      add column bank_details text,
      add constraint conferences_bank_details_length
        check (char_length(bank_details) between 1 and 1000);
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('alter table conferences drop column bank_details;')
}
