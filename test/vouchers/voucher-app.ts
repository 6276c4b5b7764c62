import { afterAll, beforeAll } from 'vitest'
import { announcePresence, type Presence } from '../../src/db/process-presence.ts'
import { createFailedLookups } from '../../src/http/failed-lookups.ts'
import { createAnswers } from '../../src/http/idempotency.ts'
import { loadCase } from '../../src/purchases/purchase-context.ts'
import { codesToTurnOff } from '../../src/purchases/purchase-money.ts'
import { lockPurchase } from '../../src/purchases/purchase-store.ts'
import { systemClock } from '../../src/shared/clock.ts'
import { createEncryption } from '../../src/shared/encryption.ts'
import type { RequiredOff } from '../../src/vouchers/change-voucher-state.ts'
import { redemptionRoutes } from '../../src/vouchers/redemption-routes.ts'
import { voucherBatchRoutes } from '../../src/vouchers/voucher-batch-routes.ts'
import { voucherExportRoutes } from '../../src/vouchers/voucher-export-routes.ts'
import { voucherRoutes } from '../../src/vouchers/voucher-routes.ts'
import { type TestApp, type TestAppOptions, useTestApp } from '../support/test-app.ts'

const requiredOff: RequiredOff = async (trx, ref) => {
  const { purchase, money } = await loadCase(trx, await lockPurchase(trx, ref))
  return purchase.status === 'REFUNDED'
    ? purchase.quantity
    : codesToTurnOff(purchase, money, money.net)
}

/** The service with the vouchers' routes, on a database of its own. */
export function useVoucherApp(options: TestAppOptions = {}): TestApp {
  const running = useTestApp(options)
  let presence: Presence | undefined
  beforeAll(() => {
    const { app, db, connectionString } = running
    if (app.hasRoute({ method: 'GET', url: '/v1/conferences/:conference/vouchers' })) return
    presence = announcePresence(connectionString, () => {})
    const encryption = createEncryption(Buffer.alloc(32, 7))
    const deps = {
      db,
      encryption,
      answers: createAnswers({ db, encryption, presence }),
      failedLookups: createFailedLookups(
        db,
        Number(options.env?.['FAILED_LOOKUPS_PER_MINUTE'] ?? 20),
      ),
    }
    voucherRoutes(app, { ...deps, requiredOff })
    redemptionRoutes(app, deps)
    voucherBatchRoutes(app, { ...deps, clock: systemClock })
    voucherExportRoutes(app, deps)
  })
  afterAll(() => presence?.close())
  return running
}
