import type { Knex } from 'knex'

/** How we know that a conference shares its Stripe account with another one. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table conferences
      -- SHA-256. Two conferences with one key share an account, also while Stripe has not named it.
      add column stripe_key_fingerprint text,
      -- True once an object of the account named another conference of this installation.
      add column sees_other_conference boolean not null default false;
    create index conferences_by_stripe_account on conferences (stripe_account)
      where stripe_account is not null;
    create index conferences_by_stripe_key on conferences (stripe_key_fingerprint)
      where stripe_key_fingerprint is not null;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop index conferences_by_stripe_key;
    drop index conferences_by_stripe_account;
    alter table conferences
      drop column sees_other_conference,
      drop column stripe_key_fingerprint;
  `)
}
