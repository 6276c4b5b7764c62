import type { BillingDeps } from '../customers/billing-deps.ts'
import type { ChargeHooks } from './charge-hooks.ts'

/** What charges work with. */
export type ChargeDeps = BillingDeps & { chargeHooks?: readonly ChargeHooks[] | undefined }
