import type { Knex } from 'knex'
import { allowSystemTasks, protectByConference } from '../src/db/tenant-scope.ts'

const COUNTS = ['issued', 'frozen', 'deactivated', 'redeemed', 'uses', 'remaining'] as const

const columns = (type: string) => COUNTS.map((name) => `${name} ${type}`).join(', ')

/** SQL that counts vouchers, each with the factor in `sign`. */
const summed = `sum(sign) as issued,
  coalesce(sum(sign) filter (where state = 'frozen'), 0) as frozen,
  coalesce(sum(sign) filter (where state = 'deactivated'), 0) as deactivated,
  coalesce(sum(sign) filter (where times_used > 0), 0) as redeemed,
  sum(sign * times_used) as uses,
  coalesce(sum(sign) filter (where state = 'active' and times_used < max_uses), 0) as remaining`

/**
 * Counts of each batch's vouchers, so that no list and no report reads the vouchers themselves. They are
 * kept as the difference to a batch whose vouchers are all issued and untouched: issuing costs nothing.
 *
 * Every change adds a row, so redemptions of one batch never wait for each other. A timer adds the rows up.
 * Triggers write them, because processes of the previous release change vouchers too.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table voucher_counts (
      conference_id text not null,
      batch_id text not null,
      ${columns('bigint not null')},
      primary key (conference_id, batch_id)
    );
    create table voucher_count_changes (
      conference_id text not null,
      batch_id text not null,
      ${columns('bigint not null')}
    );
    create index voucher_count_changes_of_batch on voucher_count_changes (conference_id, batch_id);
  `)
  for (const table of ['voucher_counts', 'voucher_count_changes']) {
    await protectByConference(knex, table)
    await allowSystemTasks(knex, table, { write: ['timers'] })
  }
  await knex.raw(`
    create function count_changed_vouchers() returns trigger language plpgsql as $$
    begin
      if tg_op = 'UPDATE' then
        insert into voucher_count_changes
        select * from (
          select conference_id, batch_id, ${summed}
          from (
            select conference_id, batch_id, state, times_used, max_uses, 1 as sign from new_rows
            union all
            select conference_id, batch_id, state, times_used, max_uses, -1 from old_rows) as changed
          group by conference_id, batch_id) as counted
        where (${COUNTS.join(', ')}) is distinct from (${COUNTS.map(() => '0').join(', ')});
      else
        insert into voucher_count_changes
        select conference_id, batch_id, ${summed}
        from (
          select conference_id, batch_id, state, times_used, max_uses, -1 as sign from old_rows) as deleted
        group by conference_id, batch_id;
      end if;
      return null;
    end $$;
    create trigger vouchers_count_updated after update on vouchers
      referencing old table as old_rows new table as new_rows
      for each statement execute function count_changed_vouchers();
    create trigger vouchers_count_deleted after delete on vouchers
      referencing old table as old_rows
      for each statement execute function count_changed_vouchers();

    select set_config('app.system_task', 'migrate', true);
    insert into voucher_counts
    select b.conference_id, b.id, coalesce(v.issued, 0) - b.count, coalesce(v.frozen, 0),
      coalesce(v.deactivated, 0), coalesce(v.redeemed, 0), coalesce(v.uses, 0),
      coalesce(v.remaining, 0) - b.count
    from voucher_batches b
    left join (
      select conference_id, batch_id, ${summed}
      from (select conference_id, batch_id, state, times_used, max_uses, 1 as sign from vouchers) as every
      group by conference_id, batch_id) v on v.conference_id = b.conference_id and v.batch_id = b.id
    where (v.issued, v.uses, v.remaining) is distinct from (b.count, 0, b.count);
    select set_config('app.system_task', '', true);
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop trigger vouchers_count_updated on vouchers;
    drop trigger vouchers_count_deleted on vouchers;
    drop function count_changed_vouchers;
    drop table voucher_count_changes;
    drop table voucher_counts;
  `)
}
