import { z } from 'zod'

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
export function defineJob<Shape extends z.ZodRawShape>(job: {
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
export function openPayload<Payload>(
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
export function storePayload<Payload>(
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
