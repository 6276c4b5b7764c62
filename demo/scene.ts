import type { FakeStripe } from 'fake-stripe/source'
import type { PurchaseBody } from '../src/purchases/purchase-view.ts'
import type { DemoApi } from './demo-api.ts'
import type { Narrator } from './narrator.ts'

/** What every chapter of the story works with. */
export type Scene = {
  narrator: Narrator
  api: DemoApi
  serviceUrl: string
  stripe: Pick<FakeStripe, 'url' | 'control'>
  operatorKey: string
  /** Where the service writes its mails. */
  mailFolder: string
  /** Ends the story when somebody presses Ctrl-C. */
  signal: AbortSignal
}

/** The conference of the story and whoever acts in it. */
export type Shop = {
  /** `/v1/conferences/devconf` */
  path: string
  /** `acct_…` at the fake Stripe. */
  account: string
  sponsorKey: string
  staffKey: string
  ticketType: string
}

/** A purchase of the story with the codes that it got. */
export type Bought = { purchase: PurchaseBody; codes: string[] }

export const CONFERENCE = 'devconf'
export const CURRENCY = 'EUR'
/** Minor units: 99.00 EUR. */
export const PRICE = 9_900
export const QUANTITY = 40
/** Codes whose price is paid back in the middle of the story. */
export const PAID_BACK = 10
