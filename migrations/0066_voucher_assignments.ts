import type { Knex } from 'knex'
import { protectByConference } from '../src/db/tenant-scope.ts'

/** What `vouchers.assigned_to` could hold that is an e-mail address, for the move in both directions. */
const IS_EMAIL = `assigned_to ~ '^[^@[:space:]]+@[^@[:space:]]+$' and length(assigned_to) <= 254`

/**
 * The people to whom vouchers are assigned. Most vouchers have none, so they have a table of their own.
 *
 * It has no trigger: whoever writes a row writes its entry of `text_search` too (src/vouchers/assignments.ts).
 * Addresses in `vouchers.assigned_to` move here. Other texts stay in that column, which only processes of the
 * previous release read.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table voucher_assignments (
      conference_id text not null,
      voucher_id bigint not null,
      -- Of the voucher's batch, which never changes, so that a sponsor's list has an index.
      sponsor_id text,
      email text not null,
      -- E-mail addresses are compared without regard to case.
      email_key text collate "C" not null generated always as (lower(email)) stored,
      name text,
      assigned_at timestamptz not null default now(),
      assigned_by text not null,
      -- The mail that was requested last. Null: none was requested.
      message text,
      -- When the mail server took it.
      sent_at timestamptz,
      primary key (conference_id, voucher_id),
      constraint voucher_assignments_voucher_fkey foreign key (conference_id, voucher_id)
        references vouchers (conference_id, id),
      constraint voucher_assignments_sponsor_fkey foreign key (conference_id, sponsor_id)
        references sponsors (conference_id, id),
      constraint voucher_assignments_email_shape
        check (email ~ '^[^@[:space:]]+@[^@[:space:]]+$' and length(email) <= 254),
      constraint voucher_assignments_name_length check (length(name) between 1 and 200),
      constraint voucher_assignments_sent_mail check (sent_at is null or message is not null)
    );
    create index voucher_assignments_by_email on voucher_assignments (conference_id, email_key, voucher_id);
    create index voucher_assignments_newest
      on voucher_assignments (conference_id, assigned_at desc, voucher_id desc);
    create index voucher_assignments_by_sponsor
      on voucher_assignments (conference_id, sponsor_id, assigned_at desc, voucher_id desc);
  `)
  await protectByConference(knex, 'voucher_assignments')
  await knex.raw(`
    select set_config('app.system_task', 'migrate', true);
    insert into voucher_assignments (conference_id, voucher_id, sponsor_id, email, assigned_by)
      select v.conference_id, v.id, b.sponsor_id, v.assigned_to, 'migration'
      from vouchers v
      join voucher_batches b on b.conference_id = v.conference_id and b.id = v.batch_id
      where ${IS_EMAIL};
    insert into text_search (conference_id, kind, id, listed_at, grams)
      select conference_id, 'assignment', voucher_id, assigned_at,
        text_grams(conference_id || 'assignment', email)
      from voucher_assignments;
    update vouchers set assigned_to = null where ${IS_EMAIL};
    select set_config('app.system_task', '', true);
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    select set_config('app.system_task', 'migrate', true);
    update vouchers v set assigned_to = a.email
      from voucher_assignments a
      where a.conference_id = v.conference_id and a.voucher_id = v.id and length(a.email) <= 200;
    delete from text_search where kind = 'assignment';
    select set_config('app.system_task', '', true);
    drop table voucher_assignments;
  `)
}
