import type { Knex } from 'knex'
import { allowSystemTasks, protectByConference } from '../src/db/tenant-scope.ts'

const words = (text: string) => text.trim().split(/\s+/)

/** Members of Stripe's objects that hold personal data, at any depth. */
const PERSONAL_MEMBERS = words(`
  name email phone address description comment ip owner evidence
  billing_details shipping shipping_details shipping_address receipt_email
  customer_details customer_email customer_name customer_phone customer_address
  customer_shipping customer_tax_ids tax_ids collected_information
  account_holder_name verified_name verified_email verified_phone verified_address
  individual_name business_name instructions_email custom_fields footer
  last4 dynamic_last4 fingerprint iban_last4 message client_secret
  receipt_url hosted_invoice_url invoice_pdf url success_url cancel_url`)

/** Columns of mirror tables that repeat such members. */
export const PERSONAL_COLUMNS = words(`
  name email phone description address shipping invoice_settings
  billing_name billing_email billing_phone receipt_email instructions_email
  address_line1 address_line2 address_city address_state address_postal_code
  address_country customer_email customer_name cancellation_details
  card_last4 last4 dynamic_last4 fingerprint failure_message
  last_payment_error_message last_setup_error_message
  receipt_url hosted_invoice_url invoice_pdf url success_url cancel_url`)

/** The metadata that this service writes: ids of its own objects. */
const OWN_METADATA = words(`
  conference_id purchase_id charge_id customer_id sponsor_id plan_id
  subscription_id refund_request voucher voucher_batch attempt`)

const array = (texts: readonly string[]) => `array[${texts.map((text) => `'${text}'`).join(', ')}]`

/**
 * The erasures of people and sponsors, and what must stay erased: salted hashes of e-mail addresses and ids of
 * objects at Stripe. Triggers of the mirror and of Stripe's events remove personal data of erased subjects
 * from every row that is written, also by processes of the previous release (decision 28).
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table erasures (
      conference_id text not null references conferences (id),
      id text not null,
      subject text not null,
      sponsor_id text,
      -- The salted hash of the e-mail address, or the sponsor's id.
      token text not null,
      state text not null default 'running',
      -- Encrypted, until the erasure is done: what it looks for.
      terms_sealed text,
      -- Changed rows by table.
      erased jsonb not null default '{}',
      stripe_customers text[] not null default '{}',
      requested_by text not null,
      created_at timestamptz not null default now(),
      finished_at timestamptz,
      primary key (conference_id, id),
      constraint erasures_token_key unique (conference_id, token),
      constraint erasures_subject_known check (subject in ('person', 'sponsor')),
      constraint erasures_sponsor_whole check ((subject = 'sponsor') = (sponsor_id is not null)),
      constraint erasures_state_known check (state in ('running', 'done')),
      constraint erasures_done_whole check ((state = 'done') = (terms_sealed is null)),
      constraint erasures_sponsor_fkey foreign key (conference_id, sponsor_id)
        references sponsors (conference_id, id)
    );
    create index erasures_newest on erasures (conference_id, created_at desc, id desc);

    create table erased_subjects (
      conference_id text not null,
      kind text not null,
      token text not null,
      primary key (conference_id, kind, token),
      constraint erased_subjects_kind_known check (kind in ('email', 'object'))
    );

    create table erasure_salts (
      conference_id text not null primary key,
      salt text not null
    );
  `)
  for (const table of ['erasures', 'erased_subjects', 'erasure_salts']) {
    await protectByConference(knex, table)
  }
  for (const table of ['erased_subjects', 'erasure_salts']) {
    await allowSystemTasks(knex, table, { read: ['store-events'] })
  }
  await knex.raw(`
    create function email_token(conference text, email text) returns text language sql stable
      return encode(sha256(convert_to((select salt from erasure_salts where conference_id = conference)
        || lower(email), 'UTF8')), 'hex');

    -- An id, or the id of an expanded object.
    create function stripe_id(reference jsonb) returns text language sql immutable
      return coalesce(reference ->> 'id', reference #>> '{}');

    -- Not stable: it must see erasures that were committed after the statement began.
    create function is_erased(conference text, object jsonb) returns boolean language plpgsql as $$
    begin
      if not exists (select from erased_subjects where conference_id = conference) then
        return false;
      end if;
      return exists (
        select from erased_subjects where conference_id = conference and kind = 'object' and token in (
          object ->> 'id', stripe_id(object -> 'customer'), stripe_id(object -> 'payment_intent'),
          stripe_id(object -> 'charge'), stripe_id(object -> 'source'))
      ) or exists (
        select from regexp_matches(object::text, '[^][\\s"<>(),;:\\\\]+@[^][\\s"<>(),;:\\\\]+', 'g') as mail (parts)
        join erased_subjects on conference_id = conference and kind = 'email'
          and token = email_token(conference, rtrim(parts[1], '.'))
      );
    end $$;

    create function redact_metadata(given jsonb) returns jsonb language sql immutable
      return case when jsonb_typeof(given) = 'object' then coalesce((
        select jsonb_object_agg(key, case when key = any(${array(OWN_METADATA)}) then value
          else '"***"' end) from jsonb_each(given)), '{}') else given end;

    -- The object without personal data. Ids, amounts, states and times stay.
    create function redact_object(given jsonb) returns jsonb language plpgsql immutable as $$
    begin
      return case jsonb_typeof(given)
        when 'object' then coalesce((
          select jsonb_object_agg(key, case
            when key = any(${array(PERSONAL_MEMBERS)}) then 'null'
            when key = 'metadata' then redact_metadata(value)
            else redact_object(value) end) from jsonb_each(given)), '{}')
        when 'array' then coalesce((
          select jsonb_agg(redact_object(item) order by place)
          from jsonb_array_elements(given) with ordinality as list (item, place)), '[]')
        when 'string' then case when given::text like '%@%' then '"***"' else given end
        else given end;
    end $$;

    -- Replaces what matches in all texts of a JSON value, not in the names of its members.
    create function redact_texts(given jsonb, pattern text, flags text) returns jsonb
      language plpgsql immutable as $$
    begin
      return case jsonb_typeof(given)
        when 'object' then coalesce((select jsonb_object_agg(key, redact_texts(value, pattern, flags))
          from jsonb_each(given)), '{}')
        when 'array' then coalesce((select jsonb_agg(redact_texts(item, pattern, flags) order by place)
          from jsonb_array_elements(given) with ordinality as list (item, place)), '[]')
        when 'string' then to_jsonb(regexp_replace(given #>> '{}', pattern, '***', flags))
        else given end;
    end $$;

    create function redact_mirror_row() returns trigger language plpgsql as $$
    begin
      if is_erased(new.conference_id, new.data) then
        new := jsonb_populate_record(new, (
          select coalesce(jsonb_object_agg(name, null), '{}') from jsonb_object_keys(to_jsonb(new)) as name
          where name = any(${array(PERSONAL_COLUMNS)})));
        new.metadata := redact_metadata(new.metadata);
        new.data := redact_object(new.data);
      end if;
      return new;
    end $$;

    -- The body of a Stripe event; of an erased subject without personal data.
    create function redact_event(conference text, body bytea) returns bytea language plpgsql as $$
    declare event jsonb;
    begin
      if body is null or not exists (select from erased_subjects where conference_id = conference) then
        return body;
      end if;
      begin
        event := convert_from(body, 'UTF8')::jsonb;
      exception when others then
        -- jsonb cannot store every text of JSON, so such a body cannot be searched.
        return convert_to('{}', 'UTF8');
      end;
      if is_erased(conference, event -> 'data' -> 'object')
        or is_erased(conference, event -> 'data' -> 'previous_attributes') then
        return convert_to(redact_object(event)::text, 'UTF8');
      end if;
      return body;
    end $$;

    create function redact_new_event() returns trigger language plpgsql as $$
    begin
      new.body := redact_event(new.conference_id, new.body);
      return new;
    end $$;
    -- Append-only, except for what staff wrote, which may name people.
    grant update (note) on purchase_transitions to current_user;
    grant update (reference, note) on recorded_payments to current_user;
    grant update (reason) on recorded_refunds to current_user;

    create trigger stripe_events_redact before insert on stripe_events
      for each row execute function redact_new_event();
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    revoke update (note) on purchase_transitions from current_user;
    revoke update (reference, note) on recorded_payments from current_user;
    revoke update (reason) on recorded_refunds from current_user;
    drop trigger stripe_events_redact on stripe_events;
    drop function redact_new_event, redact_event;
    drop function redact_mirror_row cascade;
    drop function redact_texts, redact_object, redact_metadata, is_erased, stripe_id, email_token;
    drop table erasure_salts, erased_subjects, erasures;
  `)
}
