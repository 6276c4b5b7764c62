import type { Knex } from 'knex'

/**
 * When the next background request of a Stripe account may be sent, for all processes. It belongs
 * to no conference, since several may share an account; hence no row security.
 *
 * Unlogged, since a slot is worth no write to disk: what a crash forgets is old by then.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create unlogged table stripe_request_budgets (
      account_key text primary key,
      next_at timestamptz not null,
      paused_until timestamptz
    );
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`drop table stripe_request_budgets;`)
}
