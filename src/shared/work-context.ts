import { AsyncLocalStorage } from 'node:async_hooks'

/** What a piece of work is about, for its log lines. Ids and names, never texts that people wrote. */
export type Subject = {
  reqId?: string
  conference?: string
  purchase?: string
  /** A Stripe event, or the first of several that are processed together. */
  event?: string
  job?: string
  job_id?: string
}

export type Attributes = Readonly<Record<string, string | number | boolean | readonly string[]>>

/** The kinds of spans in OpenTelemetry. */
export type SpanKind = 'server' | 'client' | 'consumer' | 'internal'

/** A step that is already over and had no steps of its own, such as a statement. */
export type Leaf = {
  name: string
  kind: SpanKind
  /** By `performance.now()`. */
  startedAt: number
  attributes: Attributes
  /** A short name of the error, never its message. */
  error?: string | undefined
}

/** A step of a trace. Its attributes contain no code, key, address of a person, or text of an error. */
export type Span = {
  /** The W3C trace context, under which another process continues this trace. */
  readonly traceparent: string
  readonly traceId: string
  /** Begins a step of this one. */
  begin(name: string, attributes: Attributes): Span
  /** Adds a step of this one that is over. */
  record(leaf: Leaf): void
  set(attributes: Attributes): void
  /** Refers to a step of another trace. */
  link(traceparent: string): void
  /** @param error a short name of the error, never its message. */
  fail(error: string): void
  end(): void
}

/** Begins traces. Only a process with an OTLP endpoint has one (open-telemetry.ts). */
export type Tracer = {
  /**
   * The first step of this process in a trace. Null if the trace is not sampled.
   *
   * @param options.parent the trace context that it continues.
   */
  begin(options: {
    name: string
    kind: SpanKind
    attributes: Attributes
    parent?: string | null
  }): Span | null
}

/** A piece of work: a request, a job, events that are processed together. */
export type Work = { readonly subject: Subject; readonly span: Span | null }

const storage = new AsyncLocalStorage<Work>()

/** Runs code as a part of a piece of work. Null: as a part of none. */
export function runWork<T>(work: Work | null, run: () => T): T {
  return work === null ? storage.exit(run) : storage.run(work, run)
}

export const currentWork = (): Work | null => storage.getStore() ?? null

/** Adds to the log lines and to the trace of the current work what it is about. */
export function concerns(subject: Subject): void {
  const work = storage.getStore()
  if (work === undefined) return
  Object.assign(work.subject, subject)
  work.span?.set(attributesOf(subject))
}

const ATTRIBUTES: Readonly<Record<keyof Subject, string>> = {
  reqId: 'sponsor_vouchers.request_id',
  conference: 'sponsor_vouchers.conference_id',
  purchase: 'sponsor_vouchers.purchase_id',
  event: 'sponsor_vouchers.stripe_event_id',
  job: 'sponsor_vouchers.job',
  job_id: 'sponsor_vouchers.job_id',
}

/** What the work is about, as attributes of a span. */
export function attributesOf(subject: Subject): Attributes {
  return Object.fromEntries(
    Object.entries(subject).map(([name, value]) => [ATTRIBUTES[name as keyof Subject], value]),
  )
}

/** Runs a step of the current work, and shows it in the trace. Without a trace, it only runs the step. */
export async function inSpan<T>(
  name: string,
  attributes: Attributes,
  step: (span: Span | null) => Promise<T>,
): Promise<T> {
  const work = storage.getStore()
  if (work === undefined || work.span === null) return step(null)
  const span = work.span.begin(name, attributes)
  return runTraced({ subject: work.subject, span }, () => step(span))
}

/** Runs a piece of work, and ends its span if it has one. */
export async function runTraced<T>(work: Work, run: () => Promise<T>): Promise<T> {
  try {
    return await storage.run(work, run)
  } catch (error) {
    work.span?.fail(errorName(error))
    throw error
  } finally {
    work.span?.end()
  }
}

/** Shows in the trace that `work` failed, also when its caller handles the error. */
export async function showFailure<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    storage.getStore()?.span?.fail(errorName(error))
    throw error
  }
}

/** The code of an error, which contains no value; else the name of its class. */
export function errorName(error: unknown): string {
  if (!(error instanceof Error)) return 'error'
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}

/** The trace context for work that continues this one later. Null without a trace. */
export const currentTraceparent = (): string | null => storage.getStore()?.span?.traceparent ?? null
