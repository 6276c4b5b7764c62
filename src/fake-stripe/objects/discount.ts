import type Stripe from 'stripe'
import { defineTable } from '../core/table.ts'

/** A coupon that was applied to a subscription, an item or an invoice. */
export const discounts = defineTable<Stripe.Discount>('discount')
