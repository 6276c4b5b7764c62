import { z } from 'zod'
import { timestamp } from '../shared/time.ts'

// Purchases, charges and card setups open Checkout Sessions with the same body and the same response.

const url = z.string().min(1).max(2_000)

export const checkoutBody = z
  .strictObject({
    success_url: url.meta({
      description:
        'May contain {CHECKOUT_SESSION_ID}, which Stripe replaces with the id of the session.',
    }),
    cancel_url: url,
  })
  .meta({ id: 'ReturnUrls' })

export const checkoutAnswer = z
  .object({ url: z.string().nullable(), session_id: z.string(), expires_at: timestamp })
  .meta({ id: 'Checkout' })
