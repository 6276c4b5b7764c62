import type { Knex } from 'knex'

/**
 * Who set the price of a purchase. A sponsor may change the quantity only if the catalogue did: the price
 * of one code says nothing about what staff would ask for more, or give away.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- Row security would hide the rows to fill.
    select set_config('app.system_task', 'migrate', true);
    alter table bulk_purchases add column price_source text not null default 'staff',
      add constraint bulk_purchases_price_source_known check (price_source in ('catalogue', 'staff'));
    update bulk_purchases p set price_source = 'catalogue'
      from ticket_types t
      where t.conference_id = p.conference_id and t.id = p.ticket_type_id and t.price = p.unit_amount;
    update bulk_purchases p set price_source = 'catalogue'
      from add_ons a
      where a.conference_id = p.conference_id and a.id = p.add_on_id and a.price = p.unit_amount;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`alter table bulk_purchases drop column price_source;`)
}
