import { expect } from 'vitest'
import {
  createRedeemer,
  redeemVoucher,
  releaseRedemption,
} from '../../src/vouchers/redeem-voucher.ts'
import { listRedemptions } from '../../src/vouchers/redemption.ts'
import { confirmRedemption } from '../../src/vouchers/redemption-holds.ts'
import { getVoucher } from '../../src/vouchers/voucher-store.ts'
import type { Tenant } from './voucher-fixture.ts'

const actor = { kind: 'staff' as const, id: 'key_shop' }
export const times = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

/** What a ticket shop does with one code. Each process of the service has its own redeemer. */
export function shopOf(tenant: Tenant, code: string) {
  const { conferenceId } = tenant
  const redeemer = createRedeemer(tenant.db)
  const take = (reference: string, holdSeconds?: number) =>
    redeemer(conferenceId, { code, reference, actor, holdSeconds })
  return {
    redeem: (reference: string) => take(reference),
    hold: (reference: string, seconds = 600) => take(reference, seconds),
    /** In a transaction, as under an `Idempotency-Key`. */
    holdAlone: (reference: string, holdSeconds = 600) =>
      tenant.run((trx) =>
        redeemVoucher(trx, conferenceId, { code, reference, actor, holdSeconds }),
      ),
    confirm: (id: string) => tenant.run((trx) => confirmRedemption(trx, conferenceId, id)),
    release: (id: string) => tenant.run((trx) => releaseRedemption(trx, conferenceId, id, actor)),
    voucher: () => tenant.run((trx) => getVoucher(trx, conferenceId, code)),
    list: async () => {
      const page = { limit: 100 }
      return (
        await tenant.run((trx) => listRedemptions(trx, conferenceId, { voucher: code }, page))
      ).data
    },
  }
}

/** Ends holds now: the one with this id, or all. */
export const endNow = (tenant: Tenant, id?: string) =>
  tenant.run(async (trx) =>
    trx('redemptions')
      .where({ is_held: true, ...(id === undefined ? {} : { id }) })
      .update({ expires_at: trx.raw(`now() - interval '1 second'`) }),
  )

/** The numbers on the voucher, and the rows that they count. */
export async function countsOf(tenant: Tenant, code: string) {
  const { rows } = await tenant.run((trx) =>
    trx.raw<{ rows: { used: number; held: number; used_rows: number; held_rows: number }[] }>(
      `select v.times_used as used, v.uses_held as held,
         count(r.id) filter (where not r.is_held and r.released_at is null) as used_rows,
         count(r.id) filter (where r.is_held) as held_rows
       from vouchers v
       left join redemptions r on r.conference_id = v.conference_id and r.voucher_id = v.id
       where v.code = ? group by v.conference_id, v.id`,
      [code],
    ),
  )
  if (rows[0] === undefined) throw new Error('There is no such voucher')
  return rows[0]
}

export async function expectExact(
  tenant: Tenant,
  code: string,
): Promise<{ used: number; held: number }> {
  const { used, held, used_rows: usedRows, held_rows: heldRows } = await countsOf(tenant, code)
  expect({ used, held }).toEqual({ used: usedRows, held: heldRows })
  return { used, held }
}
