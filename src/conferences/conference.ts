/** A tenant: its currency, its Stripe account, its limits. Secrets are not part of it. */
export type Conference = {
  id: string
  slug: string
  name: string
  /** ISO 4217, upper case; fixed for the life of the conference. */
  currency: string
  /** null while there is no Stripe key. */
  livemode: boolean | null
  /** `acct_…` once Stripe told us; null before. */
  stripeAccount: string | null
  stripeKeyLast4: string | null
  stripeKeySetAt: Date | null
  /** Most codes in one purchase or batch. */
  maxQuantity: number
  /** Random symbols of a code, without its prefix. */
  codeLength: number
  /** Empty: any https origin may be returned to after the checkout. */
  allowedOrigins: string[]
  /** 1440 is Stripe's own default, and then not sent. */
  checkoutExpiresAfterMinutes: number
  invoiceCreation: boolean
  taxIdCollection: boolean
  createdAt: Date
  updatedAt: Date
}
