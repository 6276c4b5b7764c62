/**
 * - `waiting`: to be sent, now or after a delay or back-off
 * - `held`: waits for `resume()` or `deliver()`, because deliveries are paused
 * - `delivered`: answered with 2xx
 * - `failed`: all attempts failed, or the endpoint is gone
 * - `dropped`: lost by a trouble switch; only `deliver()` sends it
 */
export type DeliveryState = 'waiting' | 'held' | 'delivered' | 'failed' | 'dropped'

export type DeliveryAttempt = {
  /** ISO 8601, real time. */
  at: string
  status: number | null
  error: string | null
  ms: number
  /** The `Stripe-Signature` header that was sent. */
  signature: string
  /** The first characters of the answer. */
  response: string
  /** Sent by `deliver()` or the dashboard's button, not by the schedule. */
  byHand: boolean
}

/** One event on its way to one endpoint. */
export type Delivery = {
  id: string
  /** `acct_…` */
  account: string
  /** `evt_…` */
  event: string
  type: string
  /** `we_…` */
  endpoint: string
  url: string
  state: DeliveryState
  attempts: DeliveryAttempt[]
  /** ISO 8601 by the fake's clock, while a retry is due. */
  nextAttemptAt: string | null
}
