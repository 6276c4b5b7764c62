import type { z } from 'zod'
import { Mismatch, type Narrator, shortIds } from './narrator.ts'

/** A person who has signed in. */
export type Person = { cookie: string }

/** An API key, or a person. */
export type Credential = string | Person

export type Call<T> = {
  method: 'GET' | 'POST' | 'PUT'
  path: string
  as: Credential
  body?: object
  /** The expected status. */
  expect: number
  /** The schema of the answer. */
  schema: z.ZodType<T>
}

/** Calls the API of the service over HTTP, as any client does. */
export type DemoApi = {
  /** Sends a request, prints it and checks its status. */
  call<T>(call: Call<T>): Promise<T>
  /** The same, without printing it. */
  look<T>(call: Call<T>): Promise<T>
}

// A request over loopback takes milliseconds; one that takes this long hangs.
const REQUEST_TIMEOUT_MS = 10_000

/** @param place the part of all paths that is abbreviated in the output. */
export function createDemoApi(
  options: { serviceUrl: string; place: string; signal: AbortSignal },
  narrator: Narrator,
): DemoApi {
  const { serviceUrl, place, signal } = options
  const short = (path: string) => shortIds(path.replace(place, '…'))

  async function send<T>(call: Call<T>) {
    const begun = performance.now()
    const response = await fetch(new URL(call.path, serviceUrl), {
      method: call.method,
      headers: {
        ...(typeof call.as === 'string'
          ? { authorization: `Bearer ${call.as}` }
          : { ...call.as, origin: serviceUrl }),
        ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]),
    })
    const text = await response.text()
    return { status: response.status, text, ms: performance.now() - begun }
  }

  function read<T>({ method, path, expect, schema }: Call<T>, status: number, text: string): T {
    const what = `${method} ${short(path)}`
    if (status !== expect) throw new Mismatch(what, expect, `${status} ${text}`)
    const parsed = schema.safeParse(JSON.parse(text))
    if (!parsed.success) throw new Mismatch(what, 'an answer as documented', text)
    return parsed.data
  }

  return {
    async call(call) {
      const { status, text, ms } = await send(call)
      const { method, path } = call
      narrator.request({ direction: '→', what: `${method} ${short(path)}`, status, ms })
      return read(call, status, text)
    },
    async look(call) {
      const { status, text } = await send(call)
      return read(call, status, text)
    },
  }
}

/** The payment page, and the address that it redirected the payer to. */
export type Paid = { page: string; returnedTo: string | null }

/**
 * Pays like a browser: opens the payment page and submits its form.
 *
 * @param url the session's `url`.
 */
export async function payInBrowser(
  url: string,
  narrator: Narrator,
  signal: AbortSignal,
): Promise<Paid> {
  const opened = await visit('GET', url, narrator, signal)
  const page = await opened.text()
  const action = /<form[^>]*\saction="([^"]+)"/.exec(page)?.[1]
  if (opened.status !== 200 || action === undefined) {
    throw new Mismatch('the payment page', 'a page with a form', `${opened.status} ${page}`)
  }
  const form = new URLSearchParams({ email: 'ada@acme.example', name: 'Ada Payer' })
  const sent = await visit('POST', new URL(action, url).href, narrator, signal, form)
  if (sent.status !== 303) throw new Mismatch('paying', 303, sent.status)
  return { page, returnedTo: sent.headers.get('location') }
}

async function visit(
  method: 'GET' | 'POST',
  url: string,
  narrator: Narrator,
  signal: AbortSignal,
  form?: URLSearchParams,
): Promise<Response> {
  const begun = performance.now()
  const response = await fetch(url, {
    method,
    redirect: 'manual',
    signal,
    ...(form === undefined ? {} : { body: form }),
  })
  const { pathname } = new URL(url)
  narrator.request({
    direction: '→',
    what: `${method} ${shortIds(pathname)}`,
    status: response.status,
    ms: performance.now() - begun,
  })
  return response
}
