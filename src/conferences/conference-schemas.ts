import { z } from 'zod'
import { conferenceParams, currencyCode, id, pageOf, slug } from '../http/common-schemas.ts'
import { timestamp, toTimestamp } from '../shared/time.ts'
import type { Conference } from './conference-store.ts'
import type { WebhookSecretRow } from './stripe-credentials.ts'

/** Stripe publishes no limit; its keys have about 110 characters. */
const MAX_SECRET_LENGTH = 500

const stripeSecretKey = z
  .string()
  .max(MAX_SECRET_LENGTH)
  .regex(
    /^[sr]k_(test|live)_[A-Za-z0-9_]{8,}$/,
    'must be a whole secret or restricted Stripe key: sk_test_…, sk_live_…, rk_test_… or rk_live_…',
  )
const webhookSecret = z
  .string()
  .max(MAX_SECRET_LENGTH)
  .regex(/^whsec_[\x21-\x7e]{8,}$/, 'must begin with whsec_')

function isOrigin(text: string): boolean {
  if (!URL.canParse(text)) return false
  const url = new URL(text)
  return url.origin === text && /^https?:$/.test(url.protocol)
}

const origin = z
  .string()
  // A host has at most 253 characters.
  .max(300)
  .refine(isOrigin, 'must be an origin such as https://example.org, without a path')

const EXPIRY_RULE = 'must be from 31 to 1435, or 1440'

const settings = {
  name: z.string().trim().min(1).max(200),
  max_quantity: z
    .int()
    .min(1)
    .max(1_000_000)
    .meta({ description: 'Maximum number of codes in one purchase.' }),
  code_length: z.int().min(8).max(32).meta({ description: 'Number of random symbols in a code.' }),
  allowed_origins: z.array(origin).max(50).meta({
    description: 'Origins that a checkout may return to. Empty: any https address.',
  }),
  checkout_expires_after_minutes: z
    .int()
    .min(31, EXPIRY_RULE)
    .max(1440, { error: EXPIRY_RULE, abort: true })
    .refine((minutes) => minutes === 1440 || minutes <= 1435, EXPIRY_RULE)
    .meta({
      description: 'Minutes until a Checkout session expires. The default of Stripe is 1440.',
    }),
  invoice_creation: z.boolean(),
  tax_id_collection: z.boolean(),
  bank_details: z.string().trim().min(1).max(1_000).nullable().meta({
    description:
      'What sponsors read who pay by bank transfer: account holder, IBAN, BIC. Null: they cannot.',
  }),
}

export const createConferenceBody = z.strictObject({
  slug: slug.max(63),
  currency: currencyCode,
  ...z.object(settings).partial().shape,
  name: settings.name,
  stripe_secret_key: stripeSecretKey.optional(),
  stripe_webhook_secret: webhookSecret.optional(),
})

export const updateConferenceBody = z
  .strictObject({ ...settings, stripe_secret_key: stripeSecretKey })
  .partial()

export const createWebhookSecretBody = z
  .strictObject({ secret: webhookSecret })
  .meta({ id: 'CreateWebhookSecret' })

export const webhookSecretParams = conferenceParams.extend({ id })

export const conferenceSchema = z
  .object({
    id: z.string(),
    object: z.literal('conference'),
    slug: z.string(),
    name: z.string(),
    currency: z.string(),
    livemode: z.boolean().nullable(),
    stripe_account: z.string().nullable(),
    stripe_account_shared: z.boolean().meta({
      description:
        'True if another conference uses the same Stripe account. Then the mirror holds only objects that belong to this conference, by their metadata or by the payment, customer or subscription that they belong to. Other objects, such as payouts, are not mirrored.',
    }),
    stripe_dashboard: z.string().nullable().meta({
      description:
        "The address of Stripe's dashboard. `{stripe_dashboard}/payments/{payment_intent}` is the page of a payment. Null without a Stripe key, or if `STRIPE_API_BASE` is not an address of Stripe.",
    }),
    stripe_secret_key: z.string().nullable().meta({ description: 'Masked.' }),
    max_quantity: z.int(),
    code_length: z.int(),
    allowed_origins: z.array(z.string()),
    checkout_expires_after_minutes: z.int(),
    invoice_creation: z.boolean(),
    tax_id_collection: z.boolean(),
    bank_details: z.string().nullable(),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'Conference' })

export const conferencePage = pageOf(conferenceSchema).meta({ id: 'ConferencePage' })

export const purchaseOptionsSchema = z
  .object({
    object: z.literal('purchase_options'),
    currency: z.string(),
    max_quantity: z.int().meta({ description: 'Maximum number of codes in one purchase.' }),
    checkout: z
      .boolean()
      .meta({ description: "Whether purchases can be paid on Stripe's payment page." }),
    bank_details: z.string().nullable().meta({
      description: 'For a bank transfer. Null: purchases cannot be paid by one.',
    }),
  })
  .meta({ id: 'PurchaseOptions' })

/** What a sponsor may know of the settings: what it can order, and how it can pay. */
export function toPurchaseOptions(conference: Conference): z.infer<typeof purchaseOptionsSchema> {
  return {
    object: 'purchase_options',
    currency: conference.currency,
    max_quantity: conference.maxQuantity,
    checkout: conference.livemode !== null,
    bank_details: conference.bankDetails,
  }
}

export const webhookSecretSchema = z
  .object({
    id: z.string(),
    object: z.literal('webhook_secret'),
    secret: z.string().meta({ description: 'Masked.' }),
    created_at: timestamp,
  })
  .meta({ id: 'WebhookSecret' })

export const webhookSecretPage = pageOf(webhookSecretSchema).meta({ id: 'WebhookSecretPage' })

function dashboardOf({ livemode }: Conference): string | null {
  return livemode === null ? null : `https://dashboard.stripe.com${livemode ? '' : '/test'}`
}

export function toConferenceBody(
  conference: Conference,
  sharesAccount: boolean,
  { isStripe }: { isStripe: boolean },
): z.infer<typeof conferenceSchema> {
  return {
    id: conference.id,
    object: 'conference',
    slug: conference.slug,
    name: conference.name,
    currency: conference.currency,
    livemode: conference.livemode,
    stripe_account: conference.stripeAccount,
    stripe_account_shared: sharesAccount,
    stripe_dashboard: isStripe ? dashboardOf(conference) : null,
    stripe_secret_key:
      conference.stripeKeyLast4 === null ? null : `****${conference.stripeKeyLast4}`,
    max_quantity: conference.maxQuantity,
    code_length: conference.codeLength,
    allowed_origins: conference.allowedOrigins,
    checkout_expires_after_minutes: conference.checkoutExpiresAfterMinutes,
    invoice_creation: conference.invoiceCreation,
    tax_id_collection: conference.taxIdCollection,
    bank_details: conference.bankDetails,
    created_at: toTimestamp(conference.createdAt),
    updated_at: toTimestamp(conference.updatedAt),
  }
}

export function toWebhookSecretBody(row: WebhookSecretRow): z.infer<typeof webhookSecretSchema> {
  return {
    id: row.id,
    object: 'webhook_secret',
    secret: `whsec_****${row.last4}`,
    created_at: toTimestamp(row.created_at),
  }
}
