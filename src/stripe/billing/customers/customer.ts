/** A customer of this service: one for each sponsor that pays by a saved card. */
export type Customer = {
  conferenceId: string
  id: string
  sponsorId: string
  /** What Stripe is sent when the customer is made there, frozen so that a repeat sends the same. */
  params: CustomerParams
  idempotencyKey: string
  generation: number
  /** Null until Stripe has made it, and after it was deleted there. */
  stripeCustomerId: string | null
  createdAt: Date
  updatedAt: Date
}

export type CustomerParams = { name: string; email: string | null }

export type CustomerRef = { conferenceId: string; customerId: string }
