import { z } from 'zod'
import type { Db } from '../../db/connect.ts'
import { conferenceParams } from '../../http/common-schemas.ts'
import type { App } from '../../http/route-deps.ts'
import type { Encryption } from '../../shared/encryption.ts'
import { AppError, notFound } from '../../shared/errors.ts'
import type { ServiceMetrics } from '../../shared/service-metrics.ts'
import { type EventHook, hooksFor } from './event-hook.ts'
import type { EventInbox } from './event-inbox.ts'
import { toInboxEvent } from './inbox-event.ts'
import { type EventHints, parseEvent } from './parse-event.ts'
import { isSignedBy } from './verify-signature.ts'
import { createWebhookConferences, type WebhookConference } from './webhook-conference.ts'

/** Stripe's events are well below it. Bytes. */
const WEBHOOK_BODY_LIMIT = 1024 * 1024

export type WebhookDeps = {
  db: Db
  encryption: Encryption
  inbox: EventInbox
  metrics: ServiceMetrics
  /** Absent: none. */
  eventHooks?: readonly EventHook[]
}

function assertSigned(
  conference: WebhookConference,
  body: Buffer,
  header: string | string[] | undefined,
): void {
  if (conference.secrets.length === 0) {
    throw new AppError('invalid_signature', 'The conference has no webhook secret yet.')
  }
  const text = Array.isArray(header) ? header.join(',') : header
  if (isSignedBy(conference.secrets, body, text)) return
  throw new AppError(
    'invalid_signature',
    text === undefined
      ? 'The Stripe-Signature header is missing.'
      : 'No signature fits the raw body and an active secret, or its time is too far away.',
  )
}

function eventOf(body: Buffer): EventHints {
  const hints = parseEvent(body)
  if (hints === null) throw new AppError('validation_failed', 'The body is not a Stripe event.')
  return hints
}

/**
 * `POST /webhooks/stripe/{conference}`: verify, store, acknowledge. 200 says that the event is
 * stored; it is worked on later. @see https://docs.stripe.com/webhooks#best-practices
 */
export function webhookRoutes(app: App, deps: WebhookDeps): void {
  const conferenceOf = createWebhookConferences(deps)
  const isWanted = (type: string) => hooksFor(deps.eventHooks ?? [], type).length > 0

  void app.register(async (scope: App) => {
    // The signature is over the bytes, so nothing may parse them first.
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
            'The body is a Stripe event, signed in `Stripe-Signature` with a secret of the conference.',
          tags: ['Stripe'],
          params: conferenceParams,
          response: { 200: z.object({ received: z.literal(true) }) },
        },
      },
      async (request) => {
        const conference = await conferenceOf(request.params.conference)
        if (conference === null) throw notFound('conference')
        request.conferenceId = conference.id
        const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
        assertSigned(conference, body, request.headers['stripe-signature'])
        const event = toInboxEvent(eventOf(body), conference, body, 'webhook', isWanted)
        const stored = await deps.inbox.store(event)
        deps.metrics.eventReceived(
          stored === 'duplicate' ? 'duplicate' : event.status === 'ignored' ? 'ignored' : 'stored',
        )
        return { received: true as const }
      },
    )
  })
}
