import type { Knex } from 'knex'

const IGNORED =
  'id,conference_id,created_at,updated_at,events_checked_until,events_alarmed_at,stripe_account,stripe_key_rejected_since,stripe_key_rejected_at,sees_other_conference'

/** Records changes of conferences, unless only these columns changed. */
const recordConferences = (knex: Knex, ignored: string) =>
  knex.raw(`
    create or replace trigger conferences_recorded after insert or update or delete on conferences
      for each row execute function
        record_change('conference', '${ignored}', 'stripe_secret_key_sealed,stripe_key_fingerprint');
  `)

/** The check for missed events writes its lease every few seconds, which is no change of settings. */
export async function up(knex: Knex): Promise<void> {
  await recordConferences(knex, `${IGNORED},events_check_id,events_check_lease_until`)
}

export async function down(knex: Knex): Promise<void> {
  await recordConferences(knex, IGNORED)
}
