import type { Knex } from 'knex'

/** Indexes for lists that had none in their order. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create index webhook_secrets_newest on webhook_secrets (conference_id, created_at desc, id desc);
    create index charges_by_manual on charges (conference_id, manual, created_at desc, id desc);
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop index webhook_secrets_newest; drop index charges_by_manual')
}
