import type { DriftCheck } from '../drift-check.ts'
import { DIFFERENT_CHECKS } from './different-checks.ts'
import { EXTRA_CHECKS } from './extra-checks.ts'
import { MISSING_CHECKS } from './missing-checks.ts'
import { PURCHASE_CHECKS } from './purchase-checks.ts'

/** Purchases, payments, refunds and disputes here against Stripe's side, in the order of the report. */
export const ALL_CHECKS: readonly DriftCheck[] = [
  ...PURCHASE_CHECKS,
  ...DIFFERENT_CHECKS,
  ...EXTRA_CHECKS,
  ...MISSING_CHECKS,
]
