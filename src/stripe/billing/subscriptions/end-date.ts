import type { Tx } from '../../../db/connect.ts'
import { invalidField } from '../../../shared/errors.ts'

/** SQL for the day by the database's clock, in UTC. */
export const TODAY = `(now() at time zone 'utc')::date`

/** @throws AppError `validation_failed` for a day that is over. */
export async function assertEndDate(trx: Tx, endDate: string | null): Promise<void> {
  if (endDate === null) return
  const { rows } = await trx.raw<{ rows: { is_over: boolean }[] }>(
    `select ?::date < ${TODAY} as is_over`,
    [endDate],
  )
  if (rows[0]?.is_over === true) throw invalidField('/end_date', 'must be today (UTC) or later')
}
