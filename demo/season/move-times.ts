import type { Db } from '../../src/db/connect.ts'
import type { PlayedDay } from './calendar.ts'

/** The tables whose times people see. Not the events, jobs and the mirror: Stripe and the service have their times. */
const TABLES = [
  'bulk_purchases',
  'purchase_transitions',
  'purchase_flags',
  'payment_attempts',
  'payments',
  'payment_refunds',
  'payment_disputes',
  'refund_requests',
  'recorded_payments',
  'recorded_refunds',
  'voucher_batches',
  'vouchers',
  'voucher_assignments',
  'redemptions',
  'text_search',
]

/** Not when something happened: when a payment page or a hold ends, when codes work, when Stripe was asked last. */
const KEPT = ['expires_at', 'valid_from', 'valid_until', 'reconciled_at']

/**
 * Moves the times of a conference from the seconds in which its season was played to the weeks that it stands
 * for. This is the only place of the demo that writes to the database: the API sets no time. It runs as
 * superuser, without triggers, on the database of this demo.
 *
 * @param days in order. Earlier and later times, those of the last day's end and after it, keep their place.
 */
export async function moveTimes(
  superuser: Db,
  conferenceId: string,
  days: readonly PlayedDay[],
  ended: Date,
): Promise<void> {
  const columns = await superuser('information_schema.columns')
    .where({ table_schema: 'public', data_type: 'timestamp with time zone' })
    .whereIn('table_name', TABLES)
    .whereNotIn('column_name', KEPT)
    .select<{ table_name: string; column_name: string }[]>('table_name', 'column_name')
  await superuser.transaction(async (trx) => {
    await trx.raw('set local session_replication_role = replica')
    await trx.raw(movedFunction(days, ended))
    for (const table of TABLES) {
      const own = columns.filter((column) => column.table_name === table)
      const moved = own.map(({ column_name: name }) => [name, trx.raw('pg_temp.moved(??)', [name])])
      await trx(table).where({ conference_id: conferenceId }).update(Object.fromEntries(moved))
    }
    // They stay as far apart as they were: a payment and the moment when the service learned of it or issued codes.
    await trx('money_movements')
      .where({ conference_id: conferenceId })
      .update({
        happened_at: besideMoved(trx, 'booked_at', 'happened_at'),
        booked_at: trx.raw('pg_temp.moved(booked_at)'),
      })
    await trx('voucher_issue_times')
      .where({ conference_id: conferenceId })
      .update({
        paid_at: besideMoved(trx, 'issued_at', 'paid_at'),
        issued_at: trx.raw('pg_temp.moved(issued_at)'),
      })
    // A payment page of weeks ago ended weeks ago, unless it is open.
    await trx('payment_attempts')
      .where({ conference_id: conferenceId })
      .whereNotIn('state', ['creating', 'open', 'processing'])
      .update({ expires_at: trx.raw(`created_at + interval '1 day'`) })
  })
}

const besideMoved = (trx: Db, moved: string, other: string) =>
  trx.raw('pg_temp.moved(:moved:) - (:moved: - :other:)', { moved, other })

/** Maps each day evenly to its hours, so the order of all times stays. */
function movedFunction(days: readonly PlayedDay[], ended: Date): string {
  const list = (dates: readonly Date[]) =>
    `array[${dates.map((date) => `'${date.toISOString()}'`).join(', ')}]::timestamptz[]`
  const began = list([...days.map((day) => day.began), ended])
  return `create function pg_temp.moved(at timestamptz) returns timestamptz language plpgsql as $$
    declare
      began timestamptz[] := ${began};
      starts timestamptz[] := ${list(days.map(({ from }) => from))};
      ends timestamptz[] := ${list(days.map(({ to }) => to))};
      day int := width_bucket(at, began);
    begin
      if day < 1 or day > ${days.length} then return at; end if;
      return starts[day] + (ends[day] - starts[day])
        * (extract(epoch from at - began[day]) / extract(epoch from began[day + 1] - began[day]))::float;
    end $$`
}
