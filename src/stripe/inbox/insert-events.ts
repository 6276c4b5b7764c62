import type { Knex } from 'knex'
import type { Tx } from '../../db/connect.ts'
import type { InboxEvent } from './inbox-event.ts'

/** What a working process listens to. The message is empty: it only says that something is due. */
export const WAKE_CHANNEL = 'stripe_events'

const INSERT = `
  with given as (
    select * from unnest(
      ?::text[], ?::text[], ?::text[], ?::boolean[], ?::text[], ?::bytea[],
      ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[],
      ?::timestamptz[]
    ) as event (conference_id, id, type, livemode, api_version, body,
      object_id, payment_intent_id, purchase_id, lane, mirror_resource, mirror_id, source, status,
      created_at_stripe)
  ), inserted as (
    insert into stripe_events (conference_id, id, type, livemode, api_version, body, object_id,
      payment_intent_id, purchase_id, lane, mirror_resource, mirror_id, source, status,
      created_at_stripe, finished_at)
    select given.*, case when status = 'ignored' then now() end from given
    -- In one order everywhere: two processes that got the same events would lock each other out.
    order by conference_id, id
    on conflict do nothing
    returning conference_id, id, status
  )
  select conference_id, id from inserted`

/** Identifies an event. An id alone would not: each conference keeps its own copy. */
export function eventKey(event: { conferenceId: string; id: string }): string {
  return `${event.conferenceId} ${event.id}`
}

/**
 * Inserts events with one statement and wakes the workers once. An event that is stored already is
 * left as it is.
 *
 * @returns the keys of those that were new.
 */
export async function insertEvents(trx: Tx, events: InboxEvent[]): Promise<Set<string>> {
  const column = (name: keyof InboxEvent) =>
    // pg takes nulls in an array; knex's type for bindings leaves them out.
    events.map((event) => event[name]) as Knex.Value
  const { rows } = await trx.raw<{ rows: { conference_id: string; id: string }[] }>(INSERT, [
    column('conferenceId'),
    column('id'),
    column('type'),
    column('livemode'),
    column('apiVersion'),
    column('body'),
    column('objectId'),
    column('paymentIntentId'),
    column('purchaseId'),
    column('lane'),
    column('mirrorResource'),
    column('mirrorId'),
    column('source'),
    column('status'),
    column('createdAtStripe'),
  ])
  const added = new Set(rows.map(({ conference_id, id }) => `${conference_id} ${id}`))
  const isWork = events.some((event) => event.status === 'pending' && added.has(eventKey(event)))
  if (isWork) await wakeWorkers(trx)
  return added
}

/** Makes every worker look for due events once the transaction is committed. */
export async function wakeWorkers(trx: Tx): Promise<void> {
  await trx.raw(`select pg_notify(?, '')`, [WAKE_CHANNEL])
}
