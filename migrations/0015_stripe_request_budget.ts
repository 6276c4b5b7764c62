import type { Knex } from 'knex'

/**
 * The time of the next background request of a Stripe account, for all processes. It belongs
 * to no conference, because several may share an account. So it has no row security.
 *
 * Unlogged, because the times that a crash loses are in the past by then.
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
