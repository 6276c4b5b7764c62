import type { FakeStripe } from 'fake-stripe/source'
import type { PurchaseBody } from '../src/purchases/purchase-view.ts'
import type { DemoApi } from './demo-api.ts'
import type { Narrator } from './narrator.ts'
import type { WebhookReceiver } from './webhook-receiver.ts'

/** What every chapter of the story needs. */
export type StoryContext = {
  narrator: Narrator
  api: DemoApi
  serviceUrl: string
  stripe: Pick<FakeStripe, 'url' | 'control'>
  operatorKey: string
  /** The folder where the service writes mails. */
  mailFolder: string
  /** Receives the outbound webhooks of the conference. */
  receiver: WebhookReceiver
  /** Aborts the story on Ctrl-C. */
  signal: AbortSignal
}

/** The conference of the story, with the keys of its actors. */
export type Shop = {
  /** `/v1/conferences/devconf` */
  path: string
  /** `acct_…` at the fake Stripe. */
  account: string
  sponsorKey: string
  staffKey: string
  ticketType: string
}

/** The paid purchase of the story with its codes. */
export type PaidPurchase = { purchase: PurchaseBody; codes: string[] }

export const CONFERENCE = 'devconf'
export const CURRENCY = 'EUR'
/** Minor units: 99.00 EUR. */
export const PRICE = 9_900
export const QUANTITY = 40
/** The number of vouchers that the partial refund pays for. */
export const REFUNDED_QUANTITY = 10
