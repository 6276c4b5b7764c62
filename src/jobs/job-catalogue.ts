import { z } from 'zod'
import type { JobShare } from './job-shares.ts'

const conference = { conference_id: z.string() }
const purchase = { ...conference, purchase_id: z.string() }

// Six attempts with waits of e to e⁵ seconds take less than four minutes. Then a sweep adds the job
// again. More attempts would have longer waits, and a purchase would wait longer after an outage.
const ATTEMPTS_UNTIL_SWEEP = 6

// A receiver may take 15 seconds to answer. With 48 workers, twelve conferences whose receivers all hang
// would occupy a process.
const DELIVERIES_PER_CONFERENCE = 4

/** A conference has one worker of those that wait for rate limits. */
const throttledQueue = ({ conference_id }: { conference_id: string }) =>
  `throttled:${conference_id}`

const definitions = {
  /** Fetch the payments of one purchase from Stripe and apply them. */
  reconcile_purchase: defineJob({
    version: 1,
    payload: { ...purchase, reason: z.string() },
    maxAttempts: ATTEMPTS_UNTIL_SWEEP,
    key: ({ purchase_id }) => `reconcile_purchase:${purchase_id}`,
  }),
  /** End a payment attempt whose outcome at Stripe is unknown, or that is open although its purchase is paid. */
  finish_attempt: defineJob({
    version: 1,
    payload: { ...purchase, attempt: z.int().min(1) },
    maxAttempts: ATTEMPTS_UNTIL_SWEEP,
    key: ({ purchase_id, attempt }) => `finish_attempt:${purchase_id}:${attempt}`,
  }),
  /** Retry a refund whose outcome at Stripe is unknown. */
  finish_refund: defineJob({
    version: 1,
    payload: { ...purchase, id: z.string() },
    maxAttempts: ATTEMPTS_UNTIL_SWEEP,
    key: ({ id }) => `finish_refund:${id}`,
  }),
  /** Fetch one charge of a saved card from Stripe. It never charges the card. */
  reconcile_charge: defineJob({
    version: 1,
    payload: { ...conference, charge_id: z.string() },
    maxAttempts: ATTEMPTS_UNTIL_SWEEP,
    key: ({ charge_id }) => `reconcile_charge:${charge_id}`,
  }),
  /** Close a payment attempt of a charge that no request continues. It never charges the card. */
  finish_charge_attempt: defineJob({
    version: 1,
    payload: { ...conference, charge_id: z.string(), attempt: z.int().min(1) },
    maxAttempts: ATTEMPTS_UNTIL_SWEEP,
    key: ({ charge_id, attempt }) => `finish_charge_attempt:${charge_id}:${attempt}`,
  }),
  /** Retry a refund of a charge whose outcome at Stripe is unknown. */
  finish_charge_refund: defineJob({
    version: 1,
    payload: { ...conference, charge_id: z.string(), id: z.string() },
    maxAttempts: ATTEMPTS_UNTIL_SWEEP,
    key: ({ id }) => `finish_charge_refund:${id}`,
  }),
  /** Find what has waited too long for its outcome at Stripe, and add the jobs that finish it. */
  sweep_purchases: defineJob({
    version: 1,
    payload: {},
    maxAttempts: 3,
    key: () => 'sweep_purchases',
  }),
  /** Find sync runs and webhook deliveries that no job works on. End the runs, resume the deliveries. */
  sweep_abandoned: defineJob({
    version: 1,
    payload: {},
    maxAttempts: 3,
    key: () => 'sweep_abandoned',
  }),
  /** Compare Stripe's list of events with the stored ones, for one conference. */
  find_missed_events: defineJob({
    version: 1,
    payload: conference,
    maxAttempts: 3,
    key: ({ conference_id }) => `find_missed_events:${conference_id}`,
  }),
  /** Make everything due now that waits for a valid Stripe key of the conference. */
  retry_with_new_key: defineJob({
    version: 1,
    payload: conference,
    maxAttempts: 8,
    key: ({ conference_id }) => `retry_with_new_key:${conference_id}`,
  }),
  /** Ask Stripe for the account of a conference's key. */
  learn_stripe_account: defineJob({
    version: 1,
    payload: conference,
    maxAttempts: 8,
    key: ({ conference_id }) => `learn_stripe_account:${conference_id}`,
  }),
  /** Work on a sync run of one mirrored resource. */
  run_sync: defineJob({
    version: 1,
    payload: { ...conference, run_id: z.string() },
    // Waits of e to e⁷ seconds: the run fails only after Stripe was unreachable for half an hour.
    maxAttempts: 8,
    key: ({ run_id }) => `run_sync:${run_id}`,
    // A conference has one worker, so its long runs and waits leave the others to other conferences.
    queue: ({ conference_id }) => `run_sync:${conference_id}`,
  }),
  /** Update the promotion codes of a published batch to match its vouchers. */
  align_promotion_codes: defineJob({
    version: 1,
    payload: { ...conference, batch_id: z.string() },
    // After a refund, codes must become inactive at Stripe even after an outage: the waits are 16 hours in all.
    maxAttempts: 12,
    key: ({ batch_id }) => `align_promotion_codes:${batch_id}`,
    queue: throttledQueue,
  }),
  /** Fetch the uses of published vouchers. Stripe sends no event for them. */
  read_published_vouchers: defineJob({
    version: 1,
    payload: conference,
    maxAttempts: 3,
    key: ({ conference_id }) => `read_published_vouchers:${conference_id}`,
    queue: throttledQueue,
  }),
  /** Start a sync run of every resource of one conference. */
  start_sync_runs: defineJob({
    version: 1,
    payload: conference,
    maxAttempts: 3,
    key: ({ conference_id }) => `start_sync_runs:${conference_id}`,
  }),
  /** Retry the creation of a subscription whose outcome at Stripe is unknown. */
  finish_subscription: defineJob({
    version: 1,
    payload: { ...conference, id: z.string() },
    maxAttempts: ATTEMPTS_UNTIL_SWEEP,
    key: ({ id }) => `finish_subscription:${id}`,
  }),
  /** Cancel a conference's subscriptions whose end date has come, at the end of their periods. */
  end_subscriptions: defineJob({
    version: 1,
    payload: conference,
    // The timer adds the job again within the hour.
    maxAttempts: 3,
    key: ({ conference_id }) => `end_subscriptions:${conference_id}`,
    queue: throttledQueue,
  }),
  /** Retry the creation of a plan whose outcome at Stripe is unknown. */
  finish_plan: defineJob({
    version: 1,
    payload: { ...conference, id: z.string() },
    maxAttempts: ATTEMPTS_UNTIL_SWEEP,
    key: ({ id }) => `finish_plan:${id}`,
  }),
  /** Retry a change of a coupon or promotion code whose outcome at Stripe is unknown. */
  finish_discount_change: defineJob({
    version: 1,
    payload: { ...conference, id: z.string() },
    maxAttempts: ATTEMPTS_UNTIL_SWEEP,
    key: ({ id }) => `finish_discount_change:${id}`,
  }),
  /** Bring a sponsor's customer at Stripe up to date with the sponsor's name and address. */
  update_customer: defineJob({
    version: 1,
    payload: { ...conference, sponsor_id: z.string() },
    // No timer adds it again. The waits grow to six hours, so Stripe may be unreachable for three days.
    maxAttempts: 21,
    key: ({ sponsor_id }) => `update_customer:${sponsor_id}`,
  }),
  /** Finish the erasure of personal data that no request continues. */
  finish_erasure: defineJob({
    version: 1,
    payload: { ...conference, id: z.string() },
    // No timer adds it again.
    maxAttempts: 21,
    key: ({ id }) => `finish_erasure:${id}`,
  }),
  /** Make one attempt to deliver an outbound webhook. The next attempt is another job. */
  deliver_webhook: defineJob({
    version: 1,
    payload: { ...conference, endpoint_id: z.string(), delivery_id: z.string() },
    // A failing receiver does not fail the job. Only stops and outages of this service count here.
    maxAttempts: 25,
    key: ({ delivery_id }) => `deliver_webhook:${delivery_id}`,
    queue: ({ endpoint_id }) => `webhooks:${endpoint_id}`,
    share: ({ conference_id }) => ({
      name: `webhooks:${conference_id}`,
      max: DELIVERIES_PER_CONFERENCE,
    }),
  }),
  /** Send a mail to the contact of a purchase's sponsor. */
  mail_purchase: defineJob({
    version: 1,
    payload: { ...purchase, kind: z.string(), message: z.string() },
    // The waits grow to six hours, so a mail server may be unreachable for three days.
    maxAttempts: 21,
    key: ({ message }) => `mail_purchase:${message}`,
  }),
  /** Send a mail with a voucher's code to the person to whom the voucher is assigned. */
  mail_assignment: defineJob({
    version: 1,
    payload: { ...conference, voucher_id: z.int(), message: z.string() },
    maxAttempts: 21,
    key: ({ message }) => `mail_assignment:${message}`,
    // One after the other, so that an upload with thousands of lines leaves workers to other mails.
    queue: ({ conference_id }) => `mail_assignment:${conference_id}`,
  }),
  /** Send a mail to the operators. */
  mail_operators: defineJob({
    version: 1,
    payload: { message: z.string(), subject: z.string(), text: z.string() },
    maxAttempts: 21,
    key: ({ message }) => `mail_operators:${message}`,
  }),
  /** Send a sign-in link to an address, if it has a user. */
  mail_sign_in: defineJob({
    version: 1,
    payload: { email: z.string(), message: z.string() },
    // The person waits for the mail, and can request another one.
    maxAttempts: ATTEMPTS_UNTIL_SWEEP,
    key: ({ email }) => `mail_sign_in:${email.toLowerCase()}`,
  }),
  /** Tell a new user where to sign in. `to` names what the user may use. */
  mail_invitation: defineJob({
    version: 1,
    payload: { email: z.string(), to: z.string(), message: z.string() },
    maxAttempts: 21,
    key: ({ message }) => `mail_invitation:${message}`,
  }),
  /** Mark held uses whose holds have ended. */
  end_holds: defineJob({ version: 1, payload: {}, maxAttempts: 3, key: () => 'end_holds' }),
  /** Delete rows that are no longer needed. */
  prune: defineJob({ version: 1, payload: {}, maxAttempts: 3, key: () => 'prune' }),
}

export type JobName = keyof typeof definitions

type Payloads = {
  [Name in JobName]: (typeof definitions)[Name] extends JobDefinition<infer Payload>
    ? Payload
    : never
}

export type JobPayload<Name extends JobName> = Payloads[Name]

/** Jobs that may take hours. They have their own workers, so that quick jobs do not wait for them. */
export const LONG_JOBS: ReadonlySet<JobName> = new Set<JobName>(['run_sync'])

/**
 * Jobs whose requests wait for the rate limit of their Stripe account, which may pause for an hour. They
 * have their own workers, and a conference uses one of them.
 */
export const THROTTLED_JOBS: ReadonlySet<JobName> = new Set<JobName>([
  'align_promotion_codes',
  'read_published_vouchers',
  'end_subscriptions',
])

/** Jobs that wait for other people's servers, which may be slow. They have their own workers too. */
const OUTBOUND_JOBS: ReadonlySet<JobName> = new Set<JobName>(['deliver_webhook'])

/** Jobs that wait for the mail server. No slow receiver of webhooks delays them. */
const MAIL_JOBS: ReadonlySet<JobName> = new Set<JobName>([
  'mail_purchase',
  'mail_assignment',
  'mail_operators',
  'mail_sign_in',
  'mail_invitation',
])

/** The workers that take a job, by what it waits for. */
export type JobLane = 'quick' | 'long' | 'throttled' | 'outbound' | 'mail'

export function laneOf(name: JobName): JobLane {
  if (LONG_JOBS.has(name)) return 'long'
  if (THROTTLED_JOBS.has(name)) return 'throttled'
  if (OUTBOUND_JOBS.has(name)) return 'outbound'
  return MAIL_JOBS.has(name) ? 'mail' : 'quick'
}

/** Every job of this service. job-handlers.ts binds each one to its use case. */
export const JOBS: { readonly [Name in JobName]: JobDefinition<Payloads[Name]> } = definitions

/**
 * A kind of background work. The process that adds a job and the one that runs it share this
 * definition, but may be different releases of this service.
 */
export type JobDefinition<Payload> = {
  /** Stored with the payload. Raise it when you change the meaning of the payload. */
  version: number
  payload: z.ZodType<Payload>
  /** Attempts before the job stays failed. The waits between them are e, e², e³ … seconds, at most e¹⁰ (six hours). */
  maxAttempts: number
  /** A new job replaces a waiting one with the same key. */
  key?: (payload: Payload) => string
  /** Jobs of one queue run one after the other, so a slow one delays only its own queue. */
  queue?: (payload: Payload) => string
  /** Limits how many jobs run in a process at the same time, besides the number of workers. */
  share?: (payload: Payload) => JobShare
}

/** Declares a job. Its payload may have only the declared members. */
function defineJob<Shape extends z.ZodRawShape>(job: {
  version: number
  payload: Shape
  maxAttempts: number
  key?: (payload: z.infer<z.ZodObject<Shape, z.core.$strict>>) => string
  queue?: (payload: z.infer<z.ZodObject<Shape, z.core.$strict>>) => string
  share?: (payload: z.infer<z.ZodObject<Shape, z.core.$strict>>) => JobShare
}): JobDefinition<z.infer<z.ZodObject<Shape, z.core.$strict>>> {
  return { ...job, payload: z.strictObject(job.payload) }
}

/** A payload that does not match the job's schema or version in this release. */
export class JobPayloadError extends Error {
  override readonly name = 'JobPayloadError'
}

const envelope = z.looseObject({ version: z.unknown() })

/**
 * Reads a stored payload, which also has its version.
 *
 * @throws JobPayloadError that names the job, and the version if it differs from this release's.
 */
export function parsePayload<Payload>(
  name: string,
  job: JobDefinition<Payload>,
  stored: unknown,
): Payload {
  const { version, ...payload } = envelope.safeParse(stored).data ?? {}
  if (version !== job.version) {
    throw new JobPayloadError(
      `Job ${name} has payload version ${String(version)}; this release supports version ${job.version}.`,
    )
  }
  return checkPayload(name, job, payload)
}

/** The payload with its version, as it is stored. @throws JobPayloadError when it does not match. */
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
