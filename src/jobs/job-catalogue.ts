import { z } from 'zod'

const conference = { conference_id: z.string() }
const purchase = { ...conference, purchase_id: z.string() }

// Six tries wait e to e⁵ seconds, under four minutes in all. A sweep adds the job anew after that,
// so that more tries would only make a purchase wait longer once Stripe is back.
const ATTEMPTS_UNTIL_SWEEP = 6

const definitions = {
  /** Read one purchase's payment from Stripe and move the purchase there. */
  reconcile_purchase: defineJob({
    version: 1,
    payload: { ...purchase, reason: z.string() },
    maxAttempts: ATTEMPTS_UNTIL_SWEEP,
    key: ({ purchase_id }) => `reconcile_purchase:${purchase_id}`,
  }),
  /** End a checkout attempt of which we do not know whether Stripe opened a session. */
  finish_attempt: defineJob({
    version: 1,
    payload: { ...purchase, attempt: z.int().min(1) },
    maxAttempts: ATTEMPTS_UNTIL_SWEEP,
    key: ({ purchase_id, attempt }) => `finish_attempt:${purchase_id}:${attempt}`,
  }),
  /** Ask Stripe again for a refund whose answer we do not know. */
  finish_refund: defineJob({
    version: 1,
    payload: { ...purchase, id: z.string() },
    maxAttempts: ATTEMPTS_UNTIL_SWEEP,
    key: ({ id }) => `finish_refund:${id}`,
  }),
  /** Read one charge of a saved card from Stripe; never charges it. */
  reconcile_charge: defineJob({
    version: 1,
    payload: { ...conference, charge_id: z.string() },
    maxAttempts: ATTEMPTS_UNTIL_SWEEP,
    key: ({ charge_id }) => `reconcile_charge:${charge_id}`,
  }),
  /** Ask Stripe again for a charge's refund whose answer we do not know. */
  finish_charge_refund: defineJob({
    version: 1,
    payload: { ...conference, charge_id: z.string(), id: z.string() },
    maxAttempts: ATTEMPTS_UNTIL_SWEEP,
    key: ({ id }) => `finish_charge_refund:${id}`,
  }),
  /** Find what has waited too long, and add the jobs above for it. */
  sweep_purchases: defineJob({
    version: 1,
    payload: {},
    maxAttempts: 3,
    key: () => 'sweep_purchases',
  }),
  /** Compare Stripe's list of events with ours, for one conference. */
  find_missed_events: defineJob({
    version: 1,
    payload: conference,
    maxAttempts: 3,
    key: ({ conference_id }) => `find_missed_events:${conference_id}`,
  }),
  /** Ask Stripe whose account a conference's key belongs to. */
  learn_stripe_account: defineJob({
    version: 1,
    payload: conference,
    maxAttempts: 8,
    key: ({ conference_id }) => `learn_stripe_account:${conference_id}`,
  }),
  /** Work on a run that makes a part of the mirror equal to Stripe. */
  run_sync: defineJob({
    version: 1,
    payload: { ...conference, run_id: z.string() },
    // Waits of e to e⁷ seconds: Stripe may be away for half an hour before the run is given up.
    maxAttempts: 8,
    key: ({ run_id }) => `run_sync:${run_id}`,
  }),
  /** Make the promotion codes of a published batch what its vouchers say. */
  align_promotion_codes: defineJob({
    version: 1,
    payload: { ...conference, batch_id: z.string() },
    // A refund must turn codes off at Stripe however long that is away: the waits are two days in all.
    maxAttempts: 12,
    key: ({ batch_id }) => `align_promotion_codes:${batch_id}`,
    queue: ({ batch_id }) => `align_promotion_codes:${batch_id}`,
  }),
  /** Read the uses of published vouchers, of which Stripe sends no event. */
  read_published_vouchers: defineJob({
    version: 1,
    payload: conference,
    maxAttempts: 3,
    key: ({ conference_id }) => `read_published_vouchers:${conference_id}`,
  }),
  /** Ask for a run of every resource of one conference. */
  start_sync_runs: defineJob({
    version: 1,
    payload: conference,
    maxAttempts: 3,
    key: ({ conference_id }) => `start_sync_runs:${conference_id}`,
  }),
  /** Ask Stripe again for a subscription whose answer we do not know. */
  finish_subscription: defineJob({
    version: 1,
    payload: { ...conference, id: z.string() },
    // As with plans.
    maxAttempts: 12,
    key: ({ id }) => `finish_subscription:${id}`,
  }),
  /** Cancel, at the end of their periods, a conference's subscriptions whose end date has come. */
  end_subscriptions: defineJob({
    version: 1,
    payload: conference,
    // The timer asks again within the hour.
    maxAttempts: 3,
    key: ({ conference_id }) => `end_subscriptions:${conference_id}`,
  }),
  /** Ask Stripe again for a plan whose answer we do not know. */
  finish_plan: defineJob({
    version: 1,
    payload: { ...conference, id: z.string() },
    // Nothing adds it anew: the waits of e to e¹¹ seconds are a day in all.
    maxAttempts: 12,
    key: ({ id }) => `finish_plan:${id}`,
  }),
  /** Make one try of a webhook that we send; the next one is another job. */
  deliver_webhook: defineJob({
    version: 1,
    payload: { ...conference, endpoint_id: z.string(), delivery_id: z.string() },
    // A receiver that fails is no failure of the job: only our own stops and outages count here.
    maxAttempts: 25,
    key: ({ delivery_id }) => `deliver_webhook:${delivery_id}`,
    queue: ({ endpoint_id }) => `webhooks:${endpoint_id}`,
  }),
  /** Write to the contact of a purchase's sponsor. */
  mail_purchase: defineJob({
    version: 1,
    payload: { ...purchase, kind: z.string(), message: z.string() },
    // The waits grow to six hours: a mail server may be away for three days.
    maxAttempts: 21,
    key: ({ message }) => `mail_purchase:${message}`,
  }),
  /** Write to the operators. */
  mail_operators: defineJob({
    version: 1,
    payload: { message: z.string(), subject: z.string(), text: z.string() },
    maxAttempts: 21,
    key: ({ message }) => `mail_operators:${message}`,
  }),
  /** Delete what nobody needs any more. */
  prune: defineJob({ version: 1, payload: {}, maxAttempts: 3, key: () => 'prune' }),
}

export type JobName = keyof typeof definitions

type Payloads = {
  [Name in JobName]: (typeof definitions)[Name] extends JobDefinition<infer Payload>
    ? Payload
    : never
}

export type JobPayload<Name extends JobName> = Payloads[Name]

/** Jobs that may take hours: they have workers of their own, so that nothing quick waits for them. */
export const LONG_JOBS: ReadonlySet<JobName> = new Set<JobName>(['run_sync'])

/** Jobs that wait for machines of others, which may be slow: they too have workers of their own. */
export const OUTBOUND_JOBS: ReadonlySet<JobName> = new Set<JobName>([
  'deliver_webhook',
  'mail_purchase',
  'mail_operators',
])

/** Every job of this service. What runs each of them is bound in job-registry.ts. */
export const JOBS: { readonly [Name in JobName]: JobDefinition<Payloads[Name]> } = definitions

/**
 * A kind of background work as both sides know it: whoever adds it and whoever runs it, which may
 * be two releases of this service at the same time.
 */
export type JobDefinition<Payload> = {
  /** Stored beside the payload. Raised by whoever changes what the payload means. */
  version: number
  payload: z.ZodType<Payload>
  /** Tries before the job is left as failed; the waits between are e, e², e³ … seconds. */
  maxAttempts: number
  /** Waiting work of the same key is replaced, not doubled. */
  key?: (payload: Payload) => string
  /** Jobs of one queue run one after the other, so that a slow one holds up its own queue alone. */
  queue?: (payload: Payload) => string
}

/** Declares a job; the members of its payload are all that it may carry. */
function defineJob<Shape extends z.ZodRawShape>(job: {
  version: number
  payload: Shape
  maxAttempts: number
  key?: (payload: z.infer<z.ZodObject<Shape, z.core.$strict>>) => string
  queue?: (payload: z.infer<z.ZodObject<Shape, z.core.$strict>>) => string
}): JobDefinition<z.infer<z.ZodObject<Shape, z.core.$strict>>> {
  return { ...job, payload: z.strictObject(job.payload) }
}

/** A payload that this release cannot run, or must not add. */
export class JobPayloadError extends Error {
  override readonly name = 'JobPayloadError'
}

const envelope = z.looseObject({ version: z.unknown() })

/**
 * The payload out of what the database keeps, which is the payload and its version.
 *
 * @throws JobPayloadError that names the job, and the version when it is another than ours.
 */
export function parsePayload<Payload>(
  name: string,
  job: JobDefinition<Payload>,
  stored: unknown,
): Payload {
  const { version, ...payload } = envelope.safeParse(stored).data ?? {}
  if (version !== job.version) {
    throw new JobPayloadError(
      `Job ${name} has payload version ${String(version)}; this release knows version ${job.version}.`,
    )
  }
  return checkPayload(name, job, payload)
}

/** What the database keeps of a payload. @throws JobPayloadError when it is not this job's. */
export function serializePayload<Payload>(
  name: string,
  job: JobDefinition<Payload>,
  payload: unknown,
): Payload & { version: number } {
  return { ...checkPayload(name, job, payload), version: job.version }
}

function checkPayload<Payload>(name: string, job: JobDefinition<Payload>, payload: unknown) {
  const parsed = job.payload.safeParse(payload)
  if (parsed.success) return parsed.data
  throw new JobPayloadError(
    `The payload of job ${name} is not valid. ${z.prettifyError(parsed.error)}`,
  )
}
