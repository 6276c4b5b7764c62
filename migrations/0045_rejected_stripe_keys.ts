import type { Knex } from 'knex'

/**
 * Whether Stripe rejects a conference's key (401, 403), and when the operators were told. Setting a key
 * clears the first two columns.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table conferences
      add column stripe_key_rejected_since timestamptz,
      add column stripe_key_rejected_at timestamptz,
      add column stripe_key_alarmed_at timestamptz,
      add constraint conferences_key_rejection_whole
        check ((stripe_key_rejected_since is null) = (stripe_key_rejected_at is null));
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table conferences
      drop column stripe_key_rejected_since,
      drop column stripe_key_rejected_at,
      drop column stripe_key_alarmed_at;
  `)
}
