import type { Knex } from 'knex'

/** Records changes of sponsors without the values of these columns. */
const recordSponsors = (knex: Knex, hidden: string) =>
  knex.raw(`
    create or replace trigger sponsors_recorded after insert or update or delete on sponsors
      for each row execute function
        record_change('sponsor', 'id,conference_id,created_at,updated_at', '${hidden}');
  `)

/** An erasure may remove names from the log of changes. An external id says who a sponsor is, like its name. */
export async function up(knex: Knex): Promise<void> {
  await recordSponsors(knex, 'name,slug,contact_email,external_id')
  await knex.raw('grant update (changes) on audit_log to current_user')
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('revoke update (changes) on audit_log from current_user')
  await recordSponsors(knex, 'name,slug,contact_email')
}
