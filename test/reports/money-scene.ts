import type { Db } from '../../src/db/connect.ts'
import type { PaymentSnapshot } from '../../src/payments/payment-snapshot.ts'
import { openScene } from '../purchases/purchase-scene.ts'

export const DAY_MS = 86_400_000
/** A day in UTC. */
export const dayBefore = (days: number) =>
  new Date(Date.now() - days * DAY_MS).toISOString().slice(0, 10)
export const TODAY = dayBefore(0)
/** The longest time of a report. */
export const WHOLE = { from: dayBefore(365), to: TODAY }

/** A purchase of 10 codes at 1.00, whose payments at Stripe are those of the snapshots. */
export async function order(
  { db }: { db: Db },
  of: { conference: string },
  item: string | null,
  currency = 'EUR',
) {
  const scene = await openScene(db, {
    conferenceId: of.conference,
    attempts: 0,
    currency,
    ...(item?.startsWith('add') ? { addOn: item } : {}),
    ...(item !== null && !item.startsWith('add') ? { ticketType: item } : {}),
  })
  const read = (facts: Partial<PaymentSnapshot>) => scene.read(facts)
  return { id: scene.ref.purchaseId, read }
}

/** Late on a day. */
export const at = (day: string) => new Date(`${day}T23:30:00Z`)
