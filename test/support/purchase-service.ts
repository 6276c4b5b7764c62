import type { Db } from '../../src/db/connect.ts'
import type { PaymentGateway, SavedCards } from '../../src/payments/payment-gateway.ts'
import {
  type BulkPurchaseService,
  createBulkPurchaseService,
} from '../../src/purchases/bulk-purchase-service.ts'
import { systemClock } from '../../src/shared/time.ts'

const noCards: SavedCards = { choose: () => Promise.reject(new Error('There is no saved card.')) }

/** The purchase service over a gateway of the test's own. It has no saved cards and sends no e-mail. */
export function purchaseService(db: Db, gateway: PaymentGateway): BulkPurchaseService {
  return createBulkPurchaseService({ db, gateway, cards: noCards, clock: systemClock })
}
