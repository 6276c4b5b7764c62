import type { Knex } from 'knex'
import { allowSystemTasks, protectByConference } from '../src/db/tenant-scope.ts'

type Audited = {
  table: string
  /** What people call a row. */
  object: string
  /** Changes of these alone are not recorded: the service writes them by itself. */
  ignored?: readonly string[]
  /** Recorded without their values: secrets, and what identifies a person. */
  hidden?: readonly string[]
}

const AUDITED: readonly Audited[] = [
  {
    table: 'conferences',
    object: 'conference',
    ignored: [
      'events_checked_until',
      'events_alarmed_at',
      'stripe_account',
      'stripe_key_rejected_since',
      'stripe_key_rejected_at',
      'sees_other_conference',
    ],
    hidden: ['stripe_secret_key_sealed', 'stripe_key_fingerprint'],
  },
  { table: 'webhook_secrets', object: 'webhook_secret', hidden: ['secret_sealed'] },
  {
    table: 'api_keys',
    object: 'api_key',
    ignored: ['last_used_at'],
    hidden: ['secret_hash', 'name'],
  },
  {
    table: 'users',
    object: 'user',
    ignored: ['last_seen_at', 'email_key'],
    hidden: ['email', 'name'],
  },
  { table: 'sponsors', object: 'sponsor', hidden: ['name', 'slug', 'contact_email'] },
  { table: 'sponsor_levels', object: 'sponsor_level' },
  { table: 'ticket_types', object: 'ticket_type' },
  { table: 'add_ons', object: 'add_on' },
  {
    table: 'webhook_endpoints',
    object: 'webhook_endpoint',
    hidden: ['secret_sealed', 'previous_secret_sealed'],
  },
]

const ALWAYS_IGNORED = ['id', 'conference_id', 'created_at', 'updated_at']

/**
 * Who changed settings, keys, users and the catalogue. A trigger writes it, so no way in can forget it. The
 * transaction has its actor in the setting `app.actor` (src/db/tenant-scope.ts). Citus allows triggers on
 * tables that are not distributed; the migration to it must replace these by the same statement in the service.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table audit_log (
      id bigint generated always as identity primary key,
      conference_id text references conferences (id),
      created_at timestamptz not null default clock_timestamp(),
      actor_kind text not null,
      actor_id text not null,
      action text not null,
      object text not null,
      object_id text not null,
      changes jsonb not null,
      constraint audit_log_action_known check (action in ('created', 'changed', 'deleted'))
    );
    create index audit_log_newest on audit_log (conference_id, created_at desc, id desc);
    create index audit_log_of_object on audit_log (conference_id, object_id, created_at desc, id desc);
    revoke update, delete, truncate on audit_log from current_user;

    create function record_change() returns trigger language plpgsql as $$
    declare
      before jsonb := case when tg_op = 'INSERT' then '{}' else to_jsonb(old) end;
      after jsonb := case when tg_op = 'DELETE' then '{}' else to_jsonb(new) end;
      subject jsonb := before || after;
      ignored text[] := string_to_array(tg_argv[1], ',');
      hidden text[] := string_to_array(tg_argv[2], ',');
      actor text := coalesce(nullif(current_setting('app.actor', true), ''), 'system:service');
      changes jsonb;
    begin
      select jsonb_object_agg(key, case
          when key = any(hidden) then '{"hidden": true}'
          else jsonb_build_object('from', before -> key, 'to', after -> key) end)
        into changes
        from jsonb_object_keys(subject) as key
        where key <> all(ignored)
          and coalesce(before -> key, 'null') <> coalesce(after -> key, 'null');
      if tg_op = 'UPDATE' and changes is null then
        return null;
      end if;
      insert into audit_log (conference_id, actor_kind, actor_id, action, object, object_id, changes)
      values (
        case tg_table_name when 'conferences' then subject ->> 'id' else subject ->> 'conference_id' end,
        split_part(actor, ':', 1),
        substr(actor, strpos(actor, ':') + 1),
        case tg_op when 'INSERT' then 'created' when 'DELETE' then 'deleted' else 'changed' end,
        tg_argv[0],
        subject ->> 'id',
        coalesce(changes, '{}'));
      return null;
    end $$;
  `)
  await protectByConference(knex, 'audit_log')
  await allowSystemTasks(knex, 'audit_log', { write: ['manage-conferences', 'authenticate'] })
  for (const { table, object, ignored = [], hidden = [] } of AUDITED) {
    const list = [...ALWAYS_IGNORED, ...ignored].join(',')
    await knex.raw(`
      create trigger ${table}_recorded after insert or update or delete on ${table}
        for each row execute function record_change('${object}', '${list}', '${hidden.join(',')}');
    `)
  }
}

export async function down(knex: Knex): Promise<void> {
  for (const { table } of AUDITED) await knex.raw(`drop trigger ${table}_recorded on ${table};`)
  await knex.raw('drop function record_change; drop table audit_log;')
}
