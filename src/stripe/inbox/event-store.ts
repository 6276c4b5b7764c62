import type { Tx } from '../../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../../http/pages.ts'
import { AppError, notFound } from '../../shared/errors.ts'
import { HANDLED_TYPES } from './handled-types.ts'
import { wakeWorkers } from './insert-events.ts'

/** As the table's check constraint has them. */
export const EVENT_STATUSES = ['pending', 'done', 'ignored', 'failed'] as const

export type EventStatus = (typeof EVENT_STATUSES)[number]

/** An event without its body. */
export type EventRow = {
  id: string
  type: string
  livemode: boolean
  api_version: string | null
  status: EventStatus
  attempts: number
  next_attempt_at: Date
  last_error: string | null
  source: 'webhook' | 'missed' | 'replay'
  purchase_id: string | null
  created_at_stripe: Date
  received_at: Date
  finished_at: Date | null
}

const COLUMNS = [
  'id',
  'type',
  'livemode',
  'api_version',
  'status',
  'attempts',
  'next_attempt_at',
  'last_error',
  'source',
  'purchase_id',
  'created_at_stripe',
  'received_at',
  'finished_at',
] as const satisfies readonly (keyof EventRow)[]

export type EventFilter = { status?: EventStatus | undefined; type?: string | undefined }

/** The events of a conference, the last received first. */
export function listEvents(
  trx: Tx,
  conferenceId: string,
  filter: EventFilter,
  page: PageQuery,
): Promise<Page<EventRow>> {
  const query = trx('stripe_events').where({
    conference_id: conferenceId,
    ...(filter.status === undefined ? {} : { status: filter.status }),
    ...(filter.type === undefined ? {} : { type: filter.type }),
  })
  return fetchPage(query.select([...COLUMNS]), page, { at: 'received_at', id: 'id' })
}

function toPending(trx: Tx) {
  return {
    status: 'pending',
    source: 'replay',
    attempts: 0,
    next_attempt_at: trx.fn.now(),
    lease_until: null,
    finished_at: null,
    lane: trx.raw(`case when type = any(?) then 'purchase' else lane end`, [[...HANDLED_TYPES]]),
    // Whoever asks for it wants all of it, hooks too.
    hooked_at: null,
    // A reading that was made before somebody asked for this one is not good enough.
    mirror_after: trx.fn.now(),
  }
}

/**
 * Makes an event due again, whatever became of it. Harmless at any time: it only makes us look.
 *
 * @throws AppError `not_found`; `wrong_state` while it is pending anyway.
 */
export async function replayEvent(trx: Tx, conferenceId: string, id: string): Promise<EventRow> {
  const [row] = await trx('stripe_events')
    .where({ conference_id: conferenceId, id })
    .whereNot({ status: 'pending' })
    .update(toPending(trx))
    .returning<EventRow[]>([...COLUMNS])
  if (row !== undefined) {
    await wakeWorkers(trx)
    return row
  }
  const known = await trx('stripe_events').where({ conference_id: conferenceId, id }).first('id')
  if (known === undefined) throw notFound('event')
  throw new AppError('wrong_state', 'The event is pending; it will be tried without a replay.', {
    extra: { state: 'pending', allowed_actions: [] },
  })
}

/** Makes every failed event of the conference due again. Returns how many they were. */
export async function replayFailed(trx: Tx, conferenceId: string): Promise<number> {
  const count = await trx('stripe_events')
    .where({ conference_id: conferenceId, status: 'failed' })
    .update(toPending(trx))
  if (count > 0) await wakeWorkers(trx)
  return count
}
