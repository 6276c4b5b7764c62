import type { Knex } from 'knex'
import { allowSystemTasks } from '../src/db/tenant-scope.ts'

/**
 * Uses of a voucher that are held while a buyer checks out. A hold is a row of `redemptions` with
 * `expires_at`; confirmed, it is a redemption. `vouchers.uses_held` counts the rows with `is_held`, also those
 * that have ended until they are marked.
 *
 * Processes of the previous release do not know holds. The checks refuse what they would do wrong: take a held
 * use, or release a hold as if it were a redemption.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table vouchers
      add column uses_held integer not null default 0,
      add constraint vouchers_uses_with_held check (uses_held >= 0 and times_used + uses_held <= max_uses);

    alter table redemptions
      add column expires_at timestamptz,
      add column confirmed_at timestamptz,
      add column is_held boolean not null default false,
      add constraint redemptions_held_whole check (not is_held
        or expires_at is not null and confirmed_at is null and released_at is null),
      add constraint redemptions_confirmed_hold check (confirmed_at is null or expires_at is not null),
      -- A hold that ended by itself was released by no one.
      drop constraint redemptions_released_whole,
      add constraint redemptions_released_whole check (case
        when released_by is not null then released_at is not null
        when released_at is not null then released_at = expires_at and confirmed_at is null
        else true end);

    create index redemptions_held on redemptions (conference_id, voucher_id, expires_at) where is_held;
    create index redemptions_held_until on redemptions (expires_at) where is_held;
    create index redemptions_unconfirmed on redemptions (expires_at)
      where expires_at is not null and confirmed_at is null and not is_held;
  `)
  await allowSystemTasks(knex, 'vouchers', { write: ['end-holds'] })
  await allowSystemTasks(knex, 'redemptions', { write: ['end-holds', 'prune'] })
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop policy vouchers_written_by_tasks on vouchers;
    drop policy redemptions_written_by_tasks on redemptions;

    select set_config('app.system_task', 'migrate', true);
    delete from redemptions where expires_at is not null and confirmed_at is null;
    select set_config('app.system_task', '', true);

    alter table redemptions
      drop constraint redemptions_released_whole,
      drop column expires_at,
      drop column confirmed_at,
      drop column is_held,
      add constraint redemptions_released_whole check ((released_at is null) = (released_by is null));
    alter table vouchers drop column uses_held;
  `)
}
