import Stripe from 'stripe'
import { z } from 'zod'
import {
  createWebhookReceivers,
  type Verification,
  type WebhookReceiver,
} from '../conferences/stripe-credentials.ts'
import type { Db } from '../db/connect.ts'
import { conferenceParams } from '../http/common-schemas.ts'
import type { FailedLookups } from '../http/failed-lookups.ts'
import type { App } from '../http/route-deps.ts'
import type { Encryption } from '../shared/cryptography.ts'
import { AppError, notFound } from '../shared/errors.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
import { concerns } from '../shared/work-context.ts'
import { classifyEvent, type EventHints, parseEvent } from './classify-event.ts'
import { type EventHook, hooksFor } from './event-hook.ts'
import type { EventInbox } from './event-inbox.ts'

/** Bytes. Stripe's events are far smaller. */
const WEBHOOK_BODY_LIMIT = 1024 * 1024

type WebhookDeps = {
  db: Db
  encryption: Encryption
  inbox: EventInbox
  metrics: ServiceMetrics
  failedLookups: FailedLookups
  eventHooks?: readonly EventHook[]
}

/**
 * `POST /webhooks/stripe/{conference}`: verify, store, acknowledge. A 200 means that the event is
 * stored. The event worker processes it later (event-worker.ts).
 * @see https://docs.stripe.com/webhooks#best-practices
 */
export function webhookRoutes(app: App, deps: WebhookDeps): void {
  const receivers = createWebhookReceivers(deps)
  const isWanted = (type: string) => hooksFor(deps.eventHooks ?? [], type).length > 0

  /** False: the conference has changed since it was read, and the event is not stored. */
  async function store(by: Verification, body: Buffer): Promise<boolean> {
    const event = classifyEvent(parseBody(body), by.receiver, body, 'webhook', isWanted)
    const { conferenceId, id, purchaseId } = event
    concerns({
      conference: conferenceId,
      event: id,
      ...(purchaseId === null ? {} : { purchase: purchaseId }),
    })
    const stored = await deps.inbox.store(event, by)
    if (stored === 'outdated') return false
    deps.metrics.eventReceived(
      stored === 'duplicate' ? 'duplicate' : event.status === 'ignored' ? 'ignored' : 'stored',
    )
    return true
  }

  void app.register(async (scope: App) => {
    // The signature covers the raw bytes, so the body must not be parsed before the check.
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) =>
      done(null, body),
    )

    scope.post(
      '/webhooks/stripe/:conference',
      {
        config: { access: 'stripe' },
        bodyLimit: WEBHOOK_BODY_LIMIT,
        schema: {
          operationId: 'receiveStripeEvent',
          summary: 'Receive an event from Stripe',
          description:
            'The body is a Stripe event. The `Stripe-Signature` header must contain a signature by a webhook secret of the conference.',
          tags: ['Stripe'],
          params: conferenceParams,
          response: { 200: z.object({ received: z.literal(true) }) },
        },
      },
      async (request) => {
        const name = request.params.conference
        const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
        const header = request.headers['stripe-signature']
        const signature = Array.isArray(header) ? header.join(',') : header

        const remembered = receivers.remembered(name)
        const known = remembered && verify(remembered, body, signature)
        if (known) {
          request.conferenceId = known.receiver.id
          if (await store(known, body)) return { received: true as const }
        }
        // Only a conference that was read for this request may refuse it.
        for (let reads = 0; reads < MAX_READS; reads += 1) {
          const receiver = await deps.failedLookups.guardConference(request.ip, name, () =>
            receivers.read(name),
          )
          if (receiver === null) throw notFound('conference')
          request.conferenceId = receiver.id
          const by = verify(receiver, body, signature)
          if (by === null) throw notSigned(receiver, signature)
          if (await store(by, body)) return { received: true as const }
        }
        throw new Error('The conference changed during each attempt to store its event')
      },
    )
  })
}

/** Each further read needs another change of the conference at the same time. */
const MAX_READS = 5

function notSigned({ secrets }: WebhookReceiver, header: string | undefined): AppError {
  if (secrets.length === 0) {
    return new AppError(
      'invalid_signature',
      'The conference has no webhook secret. Add the signing secret of the Stripe endpoint.',
    )
  }
  return new AppError(
    'invalid_signature',
    header === undefined
      ? 'The Stripe-Signature header is missing.'
      : 'No webhook secret of the conference matches the signature and the raw body, or the timestamp of the signature is too old.',
  )
}

/**
 * Allowed age of a signature in seconds. Stripe signs each delivery attempt again, so an event that
 * is days old passes. https://docs.stripe.com/webhooks#replay-prevention
 */
const TOLERANCE_SECONDS = 300

const { signature } = Stripe.webhooks

/**
 * The secret that one of the header's `v1` signatures matches, or null. While a secret is rolled, Stripe
 * signs with the old and the new one.
 */
function verify(
  receiver: WebhookReceiver,
  body: Buffer,
  header: string | undefined,
): Verification | null {
  if (header === undefined || body.length === 0) return null
  if (signature === null) throw new Error('The Stripe SDK has no signature verification')
  const secret = receiver.secrets.find(({ value }) => {
    try {
      signature.verifyHeader(body, header, value, TOLERANCE_SECONDS)
      return true
    } catch {
      return false
    }
  })
  return secret === undefined ? null : { receiver, secret }
}

function parseBody(body: Buffer): EventHints {
  const hints = parseEvent(body)
  if (hints === null) throw new AppError('validation_failed', 'The body is not a Stripe event.')
  return hints
}
