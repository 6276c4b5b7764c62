import type Stripe from 'stripe'
import { emptyable, group, text } from './params.ts'

/** The parts of a postal address; an empty text unsets one. */
export const addressShape = {
  city: emptyable(text()).optional(),
  country: emptyable(text({ max: 2 })).optional(),
  line1: emptyable(text()).optional(),
  line2: emptyable(text()).optional(),
  postal_code: emptyable(text()).optional(),
  state: emptyable(text()).optional(),
}

export function addressParam() {
  return emptyable(group(addressShape))
}

export type AddressInput = { [K in keyof typeof addressShape]?: string | null | undefined }

export function fullAddress(input: AddressInput): Stripe.Address {
  return {
    city: input.city ?? null,
    country: input.country ?? null,
    line1: input.line1 ?? null,
    line2: input.line2 ?? null,
    postal_code: input.postal_code ?? null,
    state: input.state ?? null,
  }
}
