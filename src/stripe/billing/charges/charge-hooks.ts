import type { Tx } from '../../../db/connect.ts'
import type { Charge } from './charge.ts'

/** A charge as it is after what happened. */
export type ChargeNews = { charge: Charge }

/**
 * Code of one's own for what happens to a charge. Each hook runs in the transaction that makes it
 * true, once for each time it becomes true, however often and through whom it was heard of. So it
 * may write to our database and add jobs; it must not ask anybody else, and what it throws undoes
 * the reading, which is then tried again.
 */
export type ChargeHooks = {
  chargeSucceeded?(trx: Tx, news: ChargeNews): Promise<void>
  /** One try is over; the charge may be tried again by staff. */
  chargeDeclined?(
    trx: Tx,
    news: ChargeNews & { attempt: number; failure: { code: string; message: string } },
  ): Promise<void>
  /** Stripe confirmed that money went back. `amount`: this time, in minor units. */
  chargeRefunded?(trx: Tx, news: ChargeNews & { amount: number }): Promise<void>
}
