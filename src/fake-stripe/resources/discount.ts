import type { Resource } from '../api/resource.ts'
import { discounts } from '../objects/discount.ts'

/** Discounts have no endpoint of their own; they are expanded. */
export const discountResource: Resource = {
  kind: discounts.name,
  expandable: {
    customer: { kind: 'customer' },
    promotion_code: { kind: 'promotion_code' },
  },
  operations: [],
}
