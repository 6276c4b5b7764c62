import Stripe from 'stripe'
import { z } from 'zod'
import { readWebhookReceivers, type WebhookReceiver } from '../conferences/stripe-credentials.ts'
import type { Db } from '../db/connect.ts'
import { isDatabaseUnavailable } from '../db/pg-errors.ts'
import { conferenceParams } from '../http/common-schemas.ts'
import type { FailedLookups } from '../http/failed-lookups.ts'
import type { App } from '../http/route-deps.ts'
import type { Encryption } from '../shared/cryptography.ts'
import { AppError, notFound } from '../shared/errors.ts'
import { inGroups } from '../shared/in-groups.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
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
  const findConference = createConferenceLookup(deps)
  const isWanted = (type: string) => hooksFor(deps.eventHooks ?? [], type).length > 0

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
        const conference = await deps.failedLookups.guardConference(request.ip, name, () =>
          findConference(name),
        )
        if (conference === null) throw notFound('conference')
        request.conferenceId = conference.id
        const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
        assertSigned(conference, body, request.headers['stripe-signature'])
        const event = classifyEvent(parseBody(body), conference, body, 'webhook', isWanted)
        const stored = await deps.inbox.store(event)
        deps.metrics.eventReceived(
          stored === 'duplicate' ? 'duplicate' : event.status === 'ignored' ? 'ignored' : 'stored',
        )
        return { received: true as const }
      },
    )
  })
}

/**
 * Finds the conference of a slug or id. Nothing is cached: in every process a secret is valid from
 * the commit that added it until the commit that deleted it. Webhooks that arrive together share a
 * look-up that begins after all of them.
 */
function createConferenceLookup(deps: {
  db: Db
  encryption: Encryption
}): (slugOrId: string) => Promise<WebhookReceiver | null> {
  return inGroups({
    run: (names) => readWebhookReceivers(deps.db, deps.encryption, names),
    inFlight: 2,
    // A secret that cannot be decrypted concerns one conference only.
    splits: (error) => !isDatabaseUnavailable(error),
  })
}

function assertSigned(
  conference: WebhookReceiver,
  body: Buffer,
  header: string | string[] | undefined,
): void {
  if (conference.secrets.length === 0) {
    throw new AppError(
      'invalid_signature',
      'The conference has no webhook secret. Add the signing secret of the Stripe endpoint.',
    )
  }
  const text = Array.isArray(header) ? header.join(',') : header
  if (isSignedBy(conference.secrets, body, text)) return
  throw new AppError(
    'invalid_signature',
    text === undefined
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
 * True when one of the header's `v1` signatures matches one of the secrets. While a secret is
 * rolled, Stripe signs with the old and the new one.
 */
function isSignedBy(secrets: string[], body: Buffer, header: string | undefined): boolean {
  if (header === undefined || body.length === 0) return false
  if (signature === null) throw new Error('The Stripe SDK has no signature verification')
  return secrets.some((secret) => {
    try {
      signature.verifyHeader(body, header, secret, TOLERANCE_SECONDS)
      return true
    } catch {
      return false
    }
  })
}

function parseBody(body: Buffer): EventHints {
  const hints = parseEvent(body)
  if (hints === null) throw new AppError('validation_failed', 'The body is not a Stripe event.')
  return hints
}
