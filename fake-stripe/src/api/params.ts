import qs from 'qs'
import { z } from 'zod'
import { isCurrency } from '../core/currency.ts'
import { invalidParameter, type StripeError } from '../core/errors.ts'

/**
 * Zod types for form values. Every value arrives as text, and each type refuses it with Stripe's
 * own messages; `paramError` turns the issues into Stripe's error object.
 */

/** A shape with a schema for each parameter of the SDK's type, and for no others. */
export type ShapeOf<P> = { [K in Exclude<keyof P, 'expand'>]-?: z.ZodType }

type Refuse = (message: string, code?: string) => never

class Refusal extends Error {
  readonly code: string | undefined
  constructor(message: string, code?: string) {
    super(message)
    this.code = code
  }
}

/** A type whose reader gets the raw value (never undefined) and can refuse it. */
function leaf<T>(read: (raw: unknown, refuse: Refuse) => T) {
  return z.unknown().transform((raw, context): T => {
    try {
      if (raw === undefined) throw new Refusal('Missing', 'parameter_missing')
      return read(raw, (message, code) => {
        throw new Refusal(message, code)
      })
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      const { message, code } = error
      context.addIssue({ code: 'custom', message, params: { code } })
      return z.NEVER
    }
  })
}

function readText(raw: unknown, refuse: Refuse): string {
  if (typeof raw !== 'string') return refuse(`Invalid string: ${JSON.stringify(raw)}`)
  if (raw === '') return refuse('Empty', 'parameter_invalid_empty')
  return raw
}

export function text(limits: { max?: number } = {}) {
  return leaf((raw, refuse) => {
    const value = readText(raw, refuse)
    const { max } = limits
    if (max !== undefined && value.length > max)
      return refuse(`Invalid string: ${shorten(value)}; must be at most ${max} characters`)
    return value
  })
}

export function integer(limits: { min?: number; max?: number } = {}) {
  const { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = limits
  return leaf((raw, refuse) => {
    const value = readText(raw, refuse)
    const number = /^[+-]?\d+$/.test(value) ? Number(value) : Number.NaN
    if (!Number.isSafeInteger(number))
      return refuse(`Invalid integer: ${shorten(value)}`, 'parameter_invalid_integer')
    const bound = number < min ? `greater than or equal to ${min}` : `less than or equal to ${max}`
    if (number < min || number > max)
      return refuse(`This value must be ${bound}.`, 'parameter_invalid_integer')
    return number
  })
}

/** An amount in Stripe's units; the error message names the kind of integer. */
export function amount(kind: 'positive' | 'non-negative') {
  return leaf((raw, refuse) => {
    const value = readText(raw, refuse)
    if (!/^[+-]?\d+$/.test(value))
      return refuse(`Invalid integer: ${shorten(value)}`, 'parameter_invalid_integer')
    const number = Number(value)
    if (!Number.isSafeInteger(number) || number < (kind === 'positive' ? 1 : 0))
      return refuse(`Invalid ${kind} integer`, 'parameter_invalid_integer')
    return number
  })
}

export function decimal() {
  return leaf((raw, refuse) => {
    const value = readText(raw, refuse)
    if (!/^\d+(\.\d{1,12})?$/.test(value)) return refuse(`Invalid decimal: ${shorten(value)}`)
    return value
  })
}

export function flag() {
  return leaf((raw, refuse) => {
    const value = readText(raw, refuse)
    // Stripe's Python library has sent `True` and `False`, which Stripe accepts.
    if (/^(true|false)$/i.test(value)) return value.toLowerCase() === 'true'
    return refuse(`Invalid boolean: ${shorten(value)}`)
  })
}

/**
 * A number with a fraction; Stripe repeats the value in its error message, always with a fraction.
 */
export function fraction(limits: { min: number; max: number }) {
  const { min, max } = limits
  return leaf((raw, refuse) => {
    const value = readText(raw, refuse)
    const number = /^[+-]?\d+(\.\d+)?$/.test(value) ? Number(value) : Number.NaN
    if (!Number.isFinite(number)) return refuse(`Invalid decimal: ${shorten(value)}`)
    const bound = number < min ? `greater than or equal to ${min}` : `less than or equal to ${max}`
    const shown = Number.isInteger(number) ? number.toFixed(1) : String(number)
    if (number < min || number > max)
      return refuse(`This value must be ${bound} (it currently is '${shown}').`)
    return number
  })
}

/** @param name the name of the parameter; Stripe repeats it in its error message. */
export function choice<const T extends string>(name: string, values: readonly T[]) {
  return leaf((raw, refuse) => {
    const value = readText(raw, refuse)
    const known = values.find((candidate) => candidate === value)
    return known ?? refuse(`Invalid ${name}: must be one of ${oneOf(values)}`)
  })
}

export function currency() {
  return leaf((raw, refuse) => {
    const value = readText(raw, refuse).toLowerCase()
    return isCurrency(value) ? value : refuse(unknownCurrency(value))
  })
}

export function url() {
  return leaf((raw, refuse) => {
    const value = readText(raw, refuse)
    // The template variable is not a URL character; Stripe fills it in later.
    const filled = value.replaceAll('{CHECKOUT_SESSION_ID}', 'cs')
    if (URL.canParse(filled) && /^https?:$/.test(new URL(filled).protocol)) return value
    return refuse('Not a valid URL', 'url_invalid')
  })
}

export function email() {
  return leaf((raw, refuse) => {
    const value = readText(raw, refuse)
    if (value.length > 800 || !/^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(value))
      return refuse(`Invalid email address: ${shorten(value)}`, 'email_invalid')
    return value
  })
}

/** A nested object; a parameter that the shape does not have is unknown. */
export function group<S extends z.ZodRawShape>(shape: S) {
  return z.strictObject(shape)
}

/** A list, sent as `a[0]`, `a[1]`… or `a[]`. */
export function list<T extends z.ZodType>(item: T, limits: { max?: number } = {}) {
  return leaf((raw, refuse) => {
    const entries = listEntries(raw)
    if (entries === undefined) return refuse('Invalid array')
    if (limits.max !== undefined && entries.length > limits.max)
      return refuse(`Array too long: must have at most ${limits.max} items`)
    return entries
  }).pipe(z.array(item))
}

function listEntries(raw: unknown): unknown[] | undefined {
  if (Array.isArray(raw)) return raw.flat()
  if (typeof raw !== 'object' || raw === null) return undefined
  const entries = Object.entries(raw)
  if (!entries.every(([key]) => /^\d+$/.test(key))) return undefined
  return entries.toSorted(([a], [b]) => Number(a) - Number(b)).flatMap(([, value]) => value)
}

/** An empty text removes the value: it becomes null. */
export function emptyable<T extends z.ZodType>(inner: T) {
  return z.unknown().transform((raw, context): z.output<T> | null => {
    if (raw === '') return null
    return readAs(inner, raw, context)
  })
}

/** The id of an object, or the parameters to create one. */
export function idOr<T extends z.ZodType>(inner: T) {
  const id = text()
  return z
    .unknown()
    .transform((raw, context): string | z.output<T> =>
      typeof raw === 'object' ? readAs(inner, raw, context) : readAs(id, raw, context),
    )
}

/** `eur[amount_off]=5`: a group for each currency. */
export function byCurrency<S extends z.ZodRawShape>(shape: S) {
  const inner = group(shape)
  return z.unknown().transform((raw, context): Record<string, z.output<typeof inner>> => {
    const options: Record<string, z.output<typeof inner>> = {}
    const entries = typeof raw === 'object' && raw !== null ? Object.entries(raw) : undefined
    if (entries === undefined) context.addIssue({ code: 'custom', message: 'Invalid object' })
    for (const [key, value] of entries ?? []) {
      const wrong = currencyKeyProblem(key)
      if (wrong === undefined) options[key] = readAs(inner, value, context, [key])
      else context.addIssue({ code: 'custom', message: wrong, path: [key] })
    }
    return options
  })
}

function currencyKeyProblem(key: string): string | undefined {
  const lower = key.toLowerCase()
  if (!isCurrency(lower)) return unknownCurrency(key)
  if (key === lower) return undefined
  return `Currencies must be lowercase when used as keys in a map. Use \`${lower}\` instead of \`${key}\`.`
}

function unknownCurrency(code: string): string {
  return `Invalid currency: ${shorten(code)}. Stripe currently supports these currencies: see https://docs.stripe.com/currencies`
}

/** Reads a value with another type and passes on its issues. */
function readAs<T extends z.ZodType>(
  inner: T,
  raw: unknown,
  context: z.core.$RefinementCtx,
  path: PropertyKey[] = [],
): z.output<T> {
  const result = inner.safeParse(raw)
  if (result.success) return result.data
  for (const issue of result.error.issues) context.addIssue(passOn(issue, [...path, ...issue.path]))
  return z.NEVER
}

/** A time in seconds since 1970, or `now`. */
export function nowOrTime() {
  const time = integer({ min: 0 })
  return z
    .unknown()
    .transform((raw, context): 'now' | number => (raw === 'now' ? raw : readAs(time, raw, context)))
}

/** A parameter of Stripe that the fake accepts and ignores. */
export function ignored() {
  return z.unknown().optional()
}

/** A parameter of Stripe that changes amounts or flows and that the fake does not implement. */
export function unsupported(what: string) {
  return leaf((_raw, refuse) => refuse(`fake-stripe does not support ${what}.`)).optional()
}

/** Several unsupported parameters. */
export function unsupportedAll<const K extends string>(names: readonly K[], what: string) {
  const entries = names.map((name) => [name, unsupported(what)])
  return Object.fromEntries(entries) as Record<K, ReturnType<typeof unsupported>> // one for each
}

/** A time, or the bounds `gt`, `gte`, `lt`, `lte` of one; seconds since 1970. */
export function timeRange() {
  const at = integer({ min: 0 }).optional()
  const bounds = group({ gt: at, gte: at, lt: at, lte: at })
  return z.unknown().transform((raw, context): z.output<typeof bounds> => {
    const exact = typeof raw === 'string'
    const result = bounds.safeParse(exact ? { gte: raw, lte: raw } : raw)
    if (result.success) return result.data
    for (const issue of result.error.issues) {
      context.addIssue(passOn(issue, exact ? [] : issue.path))
      if (exact) break // both bounds have the same issue
    }
    return z.NEVER
  })
}

/** Passes an inner schema's issue on; zod allows a transform to add only custom issues. */
function passOn(issue: z.core.$ZodIssue, path: PropertyKey[]) {
  return { code: 'custom' as const, message: issue.message, path, params: { issue } }
}

function oneOf(values: readonly string[]): string {
  if (values.length < 3) return values.join(' or ')
  return `${values.slice(0, -1).join(', ')}, or ${values.at(-1)}`
}

function shorten(value: string): string {
  return value.length > 40 ? `${value.slice(0, 18)}…${value.slice(-18)}` : value
}

/**
 * A decoded form with texts as its leaves. Lists are objects with the keys 0, 1, 2 … until a schema
 * reads them.
 */
export type Form = { [key: string]: FormValue }
export type FormValue = string | Form | FormValue[]

/**
 * Decodes `a[b][0]=c`. Lists stay objects, because only the schema knows whether `metadata[1]` is a
 * list entry or a key that happens to be a number.
 */
export function parseForm(text: string): Form {
  const form: unknown = qs.parse(text, {
    parseArrays: false,
    depth: 20,
    parameterLimit: 100_000,
    plainObjects: true,
  })
  return form as Form // qs yields texts and nested objects of texts only
}

type Issue = z.core.$ZodIssue

/**
 * The one error that Stripe returns for a set of invalid parameters: all unknown ones together; if
 * there are none, the first rule that is broken.
 */
export function paramError(nested: readonly Issue[]): StripeError {
  const issues = nested.map(unwrap)
  const unknown = issues.flatMap(unknownParams)
  const [first] = unknown
  if (first !== undefined) {
    const noun = unknown.length === 1 ? 'parameter' : 'parameters'
    const message = `Received unknown ${noun}: ${unknown.join(', ')}`
    return invalidParameter(first, message, 'parameter_unknown')
  }
  const [issue] = issues
  if (issue === undefined) throw new Error('paramError needs an issue')
  return ruleError(issue)
}

/** The inner issue that `passOn` has wrapped, under the path of the outer value. */
function unwrap(issue: Issue): Issue {
  const inner = issue.code === 'custom' ? issue.params?.['issue'] : undefined
  if (inner === undefined) return issue
  return unwrap({ ...(inner as Issue), path: issue.path }) // only passOn() sets it
}

function unknownParams(issue: Issue): string[] {
  if (issue.code !== 'unrecognized_keys') return []
  return issue.keys.map((key) => paramName([...issue.path, key]))
}

function ruleError(issue: Issue): StripeError {
  const param = paramName(issue.path)
  const code = issue.code === 'custom' ? customCode(issue.params) : undefined
  if (code === 'parameter_missing')
    return invalidParameter(param, `Missing required param: ${param}.`, code)
  if (code === 'parameter_invalid_empty')
    return invalidParameter(
      param,
      `You passed an empty string for '${param}'. We assume empty values are an attempt to unset a parameter; however '${param}' cannot be unset. You should remove '${param}' from your request or supply a non-empty value.`,
      code,
    )
  if (issue.code === 'invalid_type' && issue.expected === 'object')
    return invalidParameter(param, 'Invalid object')
  return invalidParameter(param, issue.message, code)
}

function customCode(params: Record<string, unknown> | undefined): string | undefined {
  const code = params?.['code']
  return typeof code === 'string' ? code : undefined
}

/** `['line_items', 0, 'quantity']` → `line_items[0][quantity]`. */
function paramName(path: readonly PropertyKey[]): string {
  const [head, ...rest] = path.map(String)
  return [head ?? '', ...rest.map((key) => `[${key}]`)].join('')
}
