import type { Knex } from 'knex'

/**
 * The vouchers that the caller of a refund named. A request keeps its choice through crashes and retries. The
 * batch keeps what follows from all of them, with the other numbers of its target, so that later changes
 * of its vouchers keep to it.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table refund_requests add column voucher_ids bigint[] not null default '{}';
    alter table recorded_refunds add column voucher_ids bigint[] not null default '{}';
    alter table voucher_batches
      add column named_inactive bigint[] not null default '{}',
      add column named_frozen bigint[] not null default '{}';
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table voucher_batches drop column named_frozen, drop column named_inactive;
    alter table recorded_refunds drop column voucher_ids;
    alter table refund_requests drop column voucher_ids;
  `)
}
