import type { FakeState } from '../fake-state.ts'
import { type AccountControl, accountControl } from './account-control.ts'
import {
  type CatalogControl,
  catalogControl,
  type ObjectControl,
  objectControl,
  type SeedControl,
  seedControl,
} from './object-control.ts'
import {
  type BillingControl,
  billingControl,
  type PaymentControl,
  type PayoutControl,
  paymentControl,
  payoutControl,
} from './payment-control.ts'
import { type WebhookControl, webhookControl } from './webhook-control.ts'

export type ClockControl = {
  clock: {
    /** The fake's time. */
    now(): Date
    /** Moves it forward. Everything that becomes due, such as an expiry, has happened on return. */
    advance(seconds: number): void
  }
}

/**
 * Everything that the API does not offer: actions of payers and banks, time, faults, and direct
 * access to objects.
 */
export type FakeStripeControl = AccountControl &
  CatalogControl &
  BillingControl &
  ClockControl &
  ObjectControl &
  PaymentControl &
  PayoutControl &
  SeedControl &
  WebhookControl

export function createControl(state: FakeState): FakeStripeControl {
  return {
    ...accountControl(state),
    ...catalogControl(state),
    ...billingControl(state),
    ...objectControl(state),
    ...paymentControl(state),
    ...payoutControl(state),
    ...seedControl(state),
    ...webhookControl(state),
    clock: {
      now: () => new Date(state.clock.now()),
      advance: (seconds) => state.clock.advance(seconds),
    },
  }
}
