import type { Tx } from '../db/connect.ts'
import { AppError, type FieldError, invalidFields } from '../shared/errors.ts'
import { lockBatch } from './freeze-vouchers.ts'
import { codeKey } from './voucher.ts'

type Found = { id: number; code_key: string; times_used: number; is_inactive: boolean }

/**
 * The vouchers of a purchase that a sponsor returns for a refund.
 *
 * @param returned ids of the vouchers that another refund has named and that is not complete.
 * @param access `lock`: none of them can be redeemed until the transaction ends. The purchase is locked.
 * @returns their ids.
 * @throws AppError `validation_failed` for each code that cannot be returned; `voucher_redeemed`. Pointers
 *   and not texts name the codes, because logs have the texts.
 */
export async function findReturnedVouchers(
  trx: Tx,
  { conferenceId, purchaseId }: { conferenceId: string; purchaseId: string },
  codes: readonly string[],
  returned: ReadonlySet<number>,
  access: 'lock' | 'read',
): Promise<number[]> {
  // The order of locks: the batch, then its vouchers.
  if (access === 'lock') await lockBatch(trx, conferenceId, { purchase_id: purchaseId })
  const keys = codes.map(codeKey)
  const { rows } = await trx.raw<{ rows: Found[] }>(
    `select v.id, v.code_key, v.times_used, v.deactivated_by is not null as is_inactive
     from vouchers v
     join voucher_batches b on b.conference_id = v.conference_id and b.id = v.batch_id
     where v.conference_id = :conferenceId and v.code_key = any(cast(:keys as text[]))
       and b.purchase_id = :purchaseId
     order by v.id ${access === 'lock' ? 'for no key update of v' : ''}`,
    { conferenceId, keys, purchaseId },
  )
  const byKey = new Map(rows.map((row) => [row.code_key, row]))
  const problems = keys.flatMap((key, i): FieldError[] => {
    const detail = problemOf(byKey.get(key), keys.indexOf(key) < i, returned)
    return detail === null ? [] : [{ pointer: `/codes/${i}`, detail }]
  })
  if (problems.length > 0) throw invalidFields(problems)
  const redeemed = keys.flatMap((key, i): FieldError[] =>
    (byKey.get(key)?.times_used ?? 0) > 0
      ? [{ pointer: `/codes/${i}`, detail: 'was redeemed' }]
      : [],
  )
  if (redeemed.length > 0) throw redeemedError(redeemed)
  return rows.map(({ id }) => id)
}

function problemOf(
  found: Found | undefined,
  isRepeated: boolean,
  returned: ReadonlySet<number>,
): string | null {
  if (found === undefined) return 'is no code of this purchase'
  if (isRepeated) return 'is given twice'
  if (found.is_inactive) return 'is inactive already'
  return returned.has(found.id) ? 'is part of a refund that is not complete' : null
}

function redeemedError(errors: FieldError[]): AppError {
  const which = errors.length === 1 ? 'A voucher was' : `${errors.length} vouchers were`
  const detail = `${which} redeemed, so nothing was refunded. Leave out what errors lists.`
  return new AppError('voucher_redeemed', detail, { errors })
}
