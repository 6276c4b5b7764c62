import type Stripe from 'stripe'
import type { ApiFault, ApiFaultInput } from '../api/api-faults.ts'
import type { LoggedRequest, RequestFilter } from '../api/request-log.ts'
import { events } from '../core/changes.ts'
import type { FakeState } from '../fake-state.ts'
import type { Delivery } from '../webhooks/webhook-dispatcher.ts'
import { createEndpoint, rollSecret } from '../webhooks/webhook-endpoints.ts'
import {
  matchesType,
  type WebhookFault,
  type WebhookFaultInput,
} from '../webhooks/webhook-faults.ts'
import { type AccountReference, findAccount, findOwner, manualScope } from './account-control.ts'

export type DeliveryFilter = {
  account?: string | undefined
  event?: string | undefined
  type?: string | undefined
  state?: Delivery['state'] | undefined
}

/** Webhooks, injected faults and the request log. */
export type WebhookControl = {
  /** Registers an endpoint. @param input.events default: all events. */
  addWebhookEndpoint(input: {
    account: AccountReference
    url: string
    secret?: string | undefined
    events?: string[] | undefined
  }): { id: string; url: string; secret: string }
  /** Adds a new secret; the old one stays active for `overlapSeconds` (default a day). */
  rollWebhookSecret(endpoint: string, overlapSeconds?: number): string
  /** Holds new deliveries and retries until `resume` or `deliver`. */
  pause(): void
  resume(): void
  /** Sends an event now, in any state and also while paused. Resolves with the deliveries. */
  deliver(event: string, endpoint?: string): Promise<Delivery[]>
  /** Sends events one after the other in this order. */
  deliverInOrder(events: readonly string[]): Promise<Delivery[]>
  /**
   * Resolves when no delivery is in flight or scheduled for a retry.
   *
   * @throws Error after `timeoutMs` (default 10 s) with a list of the open deliveries.
   */
  waitForDeliveries(options?: { timeoutMs?: number | undefined }): Promise<void>
  /** Oldest first. */
  deliveries(filter?: DeliveryFilter): Delivery[]
  /** Oldest first. `type` may end with `*`. */
  events(filter?: {
    account?: AccountReference | undefined
    type?: string | undefined
  }): Stripe.EventBase[]
  injectWebhookFault(input: WebhookFaultInput): WebhookFault
  /** Makes API requests fail, hang or be slow. */
  injectFault(input: ApiFaultInput): ApiFault
  faults(): { api: ApiFault[]; webhooks: WebhookFault[] }
  /** Removes one fault, or all. */
  clearFaults(id?: string): void
  /** The API requests, oldest first. */
  requests(filter?: RequestFilter): LoggedRequest[]
  clearRequests(): void
}

export function webhookControl(state: FakeState): WebhookControl {
  const deliver = (event: string, endpoint?: string) =>
    state.webhooks.deliver(findOwner(state, event).scope.account, event, endpoint)
  return {
    addWebhookEndpoint({ account, url, secret, events: wanted = ['*'] }) {
      const scope = manualScope(state, findAccount(state, account))
      const made = createEndpoint(scope, { url, secret, events: wanted })
      return { id: made.endpoint.id, url, secret: made.secret }
    },
    rollWebhookSecret: (endpoint, overlapSeconds = 24 * 60 * 60) =>
      rollSecret(findOwner(state, endpoint).scope, endpoint, overlapSeconds),
    pause: () => state.webhooks.pause(),
    resume: () => state.webhooks.resume(),
    deliver,
    async deliverInOrder(ids) {
      const done: Delivery[] = []
      for (const id of ids) done.push(...(await deliver(id)))
      return done
    },
    waitForDeliveries: ({ timeoutMs = 10_000 } = {}) => waitForDeliveries(state, timeoutMs),
    deliveries: (filter = {}) => state.webhooks.list((delivery) => matches(delivery, filter)),
    events: (filter = {}) => eventsOf(state, filter),
    injectWebhookFault: (input) => state.webhooks.faults.add(input),
    injectFault: (input) => state.faults.add(input),
    faults: () => ({ api: state.faults.list(), webhooks: state.webhooks.faults.list() }),
    clearFaults(id) {
      for (const faults of [state.faults, state.webhooks.faults])
        if (id === undefined) faults.clear()
        else faults.remove(id)
    },
    requests: (filter) => state.requests.list(filter),
    clearRequests: () => state.requests.clear(),
  }
}

function matches(delivery: Delivery, { account, event, type, state }: DeliveryFilter): boolean {
  return (
    (account ?? delivery.account) === delivery.account &&
    (event ?? delivery.event) === delivery.event &&
    (type ?? delivery.type) === delivery.type &&
    (state ?? delivery.state) === delivery.state
  )
}

function eventsOf(
  state: FakeState,
  filter: { account?: string | undefined; type?: string | undefined },
) {
  const accounts =
    filter.account === undefined ? state.accounts.all() : [findAccount(state, filter.account)]
  const wanted = filter.type === undefined ? undefined : [filter.type]
  return accounts.flatMap((account) =>
    account
      .rows(events)
      .all((event) => matchesType(wanted, event.type))
      .reverse(),
  )
}

async function waitForDeliveries(state: FakeState, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const open = state.webhooks
        .list(({ state }) => state === 'waiting')
        .map(({ event, type, attempts }) => `${type} ${event} after ${attempts.length} attempts`)
      reject(
        new Error(`Webhook deliveries are still open after ${timeoutMs} ms: ${open.join(', ')}`),
      )
    }, timeoutMs)
  })
  try {
    await Promise.race([state.webhooks.idle(), timeout])
  } finally {
    clearTimeout(timer)
  }
}
