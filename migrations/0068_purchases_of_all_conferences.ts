import type { Knex } from 'knex'

/** What the list of an operator reads: the page is chosen from these, its purchases are then read by tenant. */
const READ = [
  'bulk_purchases',
  'purchase_flags',
  'sponsors',
  'conferences',
  'vouchers',
  'voucher_batches',
]

/**
 * Purchases and flags of all conferences in the order of a list, for operators. A list of one conference must
 * not use these indexes: it would read the newer purchases of all other conferences. So they have conditions that
 * are always true and that only the queries for all conferences contain.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create index bulk_purchases_of_all on bulk_purchases (created_at desc, id desc) where id <> '';
    create index bulk_purchases_of_all_by_status on bulk_purchases (status, created_at desc, id desc)
      where id <> '';
    create index purchase_flags_of_all_open on purchase_flags (purchased_at desc, purchase_id desc)
      where resolved_at is null and purchase_id <> '';
    create index purchase_flags_of_all_open_by_code
      on purchase_flags (code, purchased_at desc, purchase_id desc) where resolved_at is null and purchase_id <> '';
  `)
  for (const table of READ) {
    await knex.raw(`create policy ${table}_listed on ${table} for select
      using (current_setting('app.system_task', true) in ('list-purchases'))`)
  }
}

export async function down(knex: Knex): Promise<void> {
  for (const table of READ) await knex.raw(`drop policy ${table}_listed on ${table}`)
  await knex.raw(`
    drop index bulk_purchases_of_all;
    drop index bulk_purchases_of_all_by_status;
    drop index purchase_flags_of_all_open;
    drop index purchase_flags_of_all_open_by_code;
  `)
}
