import type { FastifyBaseLogger } from 'fastify'
import type Stripe from 'stripe'
import type { Account } from '../core/accounts.ts'
import { events } from '../core/changes.ts'
import type { FakeClock } from '../core/clock.ts'
import { signWebhook, WebhookClient } from './webhook-client.ts'
import { activeSecrets, endpointSecrets, webhookEndpoints } from './webhook-endpoints.ts'
import { matchesType, WebhookFaults, type WebhookTreatment } from './webhook-faults.ts'

/**
 * - `waiting`: will be sent, now or after a delay or back-off
 * - `held`: deliveries are paused; waits for `resume()` or `deliver()`
 * - `delivered`: the receiver answered with 2xx
 * - `failed`: all attempts failed, or the endpoint was deleted
 * - `dropped`: an injected fault dropped it; only `deliver()` sends it
 */
export type DeliveryState = 'waiting' | 'held' | 'delivered' | 'failed' | 'dropped'

export type DeliveryAttempt = {
  /** ISO 8601, real time. */
  at: string
  status: number | null
  error: string | null
  ms: number
  /** The `Stripe-Signature` header of the request. */
  signature: string
  /** The first characters of the response. */
  response: string
  /** Sent by `deliver()` or a button of the dashboard, not by the schedule. */
  byHand: boolean
}

/** The delivery of one event to one endpoint. */
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
  /** ISO 8601, in the fake's time, while a retry is scheduled. */
  nextAttemptAt: string | null
}

export type WebhookSettings = {
  /** How long the receiver can take to answer. */
  timeoutMs: number
  /** Wait before the second attempt; each further wait is `retryFactor` times as long. */
  retryBaseMs: number
  retryFactor: number
  /** The total number of attempts. */
  maxAttempts: number
}

export const DEFAULT_WEBHOOK_SETTINGS: WebhookSettings = {
  timeoutMs: 10_000,
  retryBaseMs: 1_000,
  retryFactor: 2,
  maxAttempts: 16,
}

const MAX_DELIVERIES = 50_000

type Job = { delivery: Delivery; account: Account; copies: number; tries: number }

/**
 * Sends events to the endpoints that are registered for them: at least once, in no guaranteed
 * order, with exponential back-off until the receiver answers with 2xx.
 *
 * @see https://docs.stripe.com/webhooks
 */
export class WebhookDispatcher {
  readonly faults = new WebhookFaults()
  #clock: FakeClock
  #settings: WebhookSettings
  #logger: FastifyBaseLogger
  #client = new WebhookClient()
  #jobs: Job[] = []
  #held: Job[] = []
  #reordering: Job[] = []
  /** In flight or scheduled; `idle` waits for them. */
  #active = new Set<Job>()
  #idleWaiters: (() => void)[] = []
  #paused = false
  #closed = false
  #sequence = 0

  constructor(clock: FakeClock, settings: WebhookSettings, logger: FastifyBaseLogger) {
    this.#clock = clock
    this.#settings = settings
    this.#logger = logger
  }

  get paused(): boolean {
    return this.#paused
  }

  /** Starts the deliveries of a new event. */
  publish(account: Account, event: Stripe.EventBase): void {
    const wanted = account
      .rows(webhookEndpoints)
      .all(
        (endpoint) =>
          endpoint.status === 'enabled' && matchesType(endpoint.enabled_events, event.type),
      )
      .reverse() // the oldest endpoint first
    const jobs = wanted.map((endpoint) => this.#newJob(account, event, endpoint))
    account.rows(events).replace({ ...event, pending_webhooks: jobs.length })
    for (const job of jobs) {
      this.#active.add(job)
      this.#route(job, this.faults.take(event.type, account.id))
    }
  }

  /** Holds deliveries that are not in flight yet. */
  pause(): void {
    this.#paused = true
  }

  /** Sends the held deliveries, oldest first. */
  resume(): void {
    this.#paused = false
    for (const job of this.#held.splice(0)) void this.#start(job)
  }

  /**
   * Sends one event now, in any state and also while paused.
   *
   * @param endpoint `we_…`; absent: every endpoint that is registered for the event.
   * @returns the deliveries, with the new attempt.
   */
  async deliver(account: Account, event: string, endpoint?: string): Promise<Delivery[]> {
    const jobs = this.#jobsFor(account, event, endpoint)
    await Promise.all(jobs.map((job) => this.#attempt(job, true)))
    // A delivery without a schedule is not retried.
    for (const job of jobs)
      if (job.delivery.state === 'waiting' && !this.#active.has(job)) job.delivery.state = 'failed'
    return jobs.map((job) => job.delivery)
  }

  /** Oldest first. */
  list(where: (delivery: Delivery) => boolean = () => true): Delivery[] {
    return this.#jobs.map((job) => job.delivery).filter(where)
  }

  /** Resolves when nothing is in flight or scheduled; held and dropped deliveries do not count. */
  async idle(): Promise<void> {
    if (this.#active.size === 0) return
    await new Promise<void>((resolve) => this.#idleWaiters.push(resolve))
  }

  close(): void {
    this.#closed = true
    this.#client.close()
    this.#active.clear()
    this.#wakeIdle()
  }

  #newJob(account: Account, event: Stripe.EventBase, endpoint: Stripe.WebhookEndpoint): Job {
    this.#sequence += 1
    const delivery: Delivery = {
      id: `delivery_${this.#sequence}`,
      account: account.id,
      event: event.id,
      type: event.type,
      endpoint: endpoint.id,
      url: endpoint.url,
      state: 'waiting',
      attempts: [],
      nextAttemptAt: null,
    }
    const job = { delivery, account, copies: 1, tries: 0 }
    this.#jobs.push(job)
    // Limits the memory of a fake that runs for weeks.
    if (this.#jobs.length > MAX_DELIVERIES) this.#jobs.splice(0, MAX_DELIVERIES / 10)
    return job
  }

  #jobsFor(account: Account, eventId: string, endpointId: string | undefined): Job[] {
    const event = account.rows(events).get(eventId)
    if (event === undefined) throw new Error(`No such event: ${eventId}`)
    const endpoints = account
      .rows(webhookEndpoints)
      .all(({ id, enabled_events }) =>
        endpointId === undefined ? matchesType(enabled_events, event.type) : id === endpointId,
      )
    const known = this.#jobs.filter(({ delivery }) => delivery.event === eventId)
    return endpoints.map(
      (endpoint) =>
        known.find(({ delivery }) => delivery.endpoint === endpoint.id) ??
        this.#newJob(account, event, endpoint),
    )
  }

  #route(job: Job, fate: WebhookTreatment): void {
    job.copies = fate.copies
    if (fate.drop) this.#finish(job, 'dropped')
    else if (fate.reorder !== null) this.#reorder(job, fate.reorder)
    else if (fate.delayMs > 0) this.#later(job, fate.delayMs)
    else void this.#start(job)
  }

  #reorder(job: Job, { window, ms }: { window: number; ms: number }): void {
    this.#reordering.push(job)
    if (this.#reordering.length >= window) void this.#sendReordered()
    else this.#clock.at(this.#clock.now() + ms, () => void this.#sendReordered())
  }

  /** One after the other: parallel requests could arrive in the original order. */
  async #sendReordered(): Promise<void> {
    for (const job of this.#reordering.splice(0).reverse()) await this.#start(job)
  }

  #later(job: Job, ms: number): void {
    const due = this.#clock.now() + ms
    job.delivery.nextAttemptAt = new Date(due).toISOString()
    this.#clock.at(due, () => void this.#start(job))
  }

  /** Resolves when the attempt has ended. */
  async #start(job: Job): Promise<void> {
    if (job.delivery.state === 'delivered') return this.#finish(job, 'delivered')
    if (this.#paused) {
      this.#held.push(job)
      return this.#finish(job, 'held')
    }
    job.delivery.state = 'waiting'
    job.delivery.nextAttemptAt = null
    this.#active.add(job)
    const copies = Array.from({ length: job.copies }, () => this.#attempt(job, false))
    job.copies = 1 // a retry is sent once
    await Promise.all(copies)
    this.#afterAttempt(job)
  }

  #afterAttempt(job: Job): void {
    const { delivery } = job
    job.tries += 1
    if (delivery.state !== 'waiting') return this.#finish(job, delivery.state)
    const { maxAttempts, retryBaseMs, retryFactor } = this.#settings
    if (job.tries >= maxAttempts) return this.#finish(job, 'failed')
    if (!this.#closed) this.#later(job, retryBaseMs * retryFactor ** (job.tries - 1))
  }

  async #attempt(job: Job, byHand: boolean): Promise<void> {
    const { delivery, account } = job
    const endpoint = account.rows(webhookEndpoints).get(delivery.endpoint)
    const event = account.rows(events).get(delivery.event)
    if (event === undefined || endpoint === undefined || endpoint.status !== 'enabled') {
      delivery.state = 'failed'
      return
    }
    const apiVersion = endpoint.api_version ?? event.api_version
    const body = JSON.stringify({ ...event, api_version: apiVersion }, null, 2)
    const secrets = account.rows(endpointSecrets).get(endpoint.id)?.secrets ?? []
    const active = activeSecrets(secrets, this.#clock.now())
    const signature = signWebhook(active, this.#clock.wallSeconds(), body)
    const at = new Date().toISOString()
    const { timeoutMs } = this.#settings
    const result = await this.#client.post({ url: endpoint.url, body, signature, timeoutMs })
    if (this.#closed) return
    delivery.attempts.push({ at, ...result, signature, byHand })
    if (result.error === null) this.#succeed(job)
    else this.#logger.debug({ delivery, error: result.error }, 'webhook attempt failed')
  }

  #succeed({ delivery, account }: Job): void {
    if (delivery.state === 'delivered') return
    delivery.state = 'delivered'
    delivery.nextAttemptAt = null
    const event = account.rows(events).get(delivery.event)
    if (event === undefined) return
    const pending = Math.max(event.pending_webhooks - 1, 0)
    account.rows(events).replace({ ...event, pending_webhooks: pending })
  }

  #finish(job: Job, state: Delivery['state']): void {
    job.delivery.state = state
    job.delivery.nextAttemptAt = null
    this.#active.delete(job)
    if (this.#active.size === 0) this.#wakeIdle()
  }

  #wakeIdle(): void {
    for (const wake of this.#idleWaiters.splice(0)) wake()
  }
}
