import { nanoid } from 'nanoid'
import createClient, { type Middleware } from 'openapi-fetch'
import type { components, paths } from './schema.d.ts'

/** An object of the API, by the name of its schema in openapi.yaml. */
export type Schema<Name extends keyof components['schemas']> = components['schemas'][Name]

/** A problem document, or a failure to reach the service. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly status: number
  readonly code: string
  readonly errors: readonly { pointer: string; detail: string }[]
  readonly requestId: string | null

  constructor(problem: {
    status: number
    code: string
    detail: string
    errors?: readonly { pointer: string; detail: string }[] | undefined
    request_id?: string | undefined
  }) {
    super(problem.detail)
    this.status = problem.status
    this.code = problem.code
    this.errors = problem.errors ?? []
    this.requestId = problem.request_id ?? null
  }

  /** What is wrong with a field, such as `quantity`, or undefined. */
  fieldError(name: string): string | undefined {
    return this.errors.find(({ pointer }) => pointer === `/${name}`)?.detail
  }
}

/** The service answers JSON problems; a proxy in front of it may answer anything. */
async function toError(response: Response): Promise<ApiError> {
  const body: unknown = await response.json().catch(() => null)
  if (typeof body === 'object' && body !== null && 'code' in body && 'detail' in body) {
    return new ApiError(body as ConstructorParameters<typeof ApiError>[0])
  }
  const detail = `The service answered with status ${response.status}. Try again in a minute.`
  return new ApiError({ status: response.status, code: 'unexpected_answer', detail })
}

const OFFLINE = 'The service cannot be reached. Check the connection and try again.'

/** Turns every answer that is not a success into an ApiError, so that callers only see data. */
const problems: Middleware = {
  async onResponse({ response }) {
    if (response.ok) return
    if (response.status === 401 && !location.pathname.startsWith('/sign-in')) goToSignIn()
    throw await toError(response)
  },
  onError: ({ error }) =>
    error instanceof ApiError
      ? error
      : new ApiError({ status: 0, code: 'offline', detail: OFFLINE }),
}

/** Leaves for the sign-in page, which comes back to this one. */
function goToSignIn(): void {
  const back = `${location.pathname}${location.search}`
  location.assign(`/sign-in?return=${encodeURIComponent(back)}`)
}

/** The client of the service's API, typed by openapi.yaml. The session cookie authenticates it. */
export const api = createClient<paths>()
api.use(problems)

/**
 * The data of an answer; the middleware has thrown any other answer. Operations that can also answer with a
 * text, such as CSV, answer JSON here.
 */
export async function dataOf<T>(answer: Promise<{ data?: T }>): Promise<Exclude<T, string>> {
  const { data } = await answer
  // A 204 has none, and its callers expect none.
  return data as Exclude<T, string>
}

/** For a request of a CSV file. */
export const AS_CSV = { parseAs: 'text', headers: { accept: 'text/csv' } } as const

/** The text of an answer to a request with `AS_CSV`. */
export async function textOf(answer: Promise<{ data?: unknown }>): Promise<string> {
  const { data } = await answer
  return typeof data === 'string' ? data : ''
}

/** For the header of a write: a repeat with the same key does nothing twice. `randomUUID` needs https. */
export const newIdempotencyKey = (): string => nanoid()
