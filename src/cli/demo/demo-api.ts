import type { z } from 'zod'
import { Mismatch } from './mismatch.ts'
import type { Narrator } from './narrator.ts'
import { shortIds } from './short-ids.ts'

export type Call<T> = {
  method: 'GET' | 'POST'
  path: string
  /** The API key. */
  as: string
  body?: object
  /** The status that the story expects. */
  expect: number
  /** What the answer must look like. */
  schema: z.ZodType<T>
}

/** The service's API, called over HTTP as any client does. */
export type DemoApi = {
  /** A request of the story: shown, and its status is checked. */
  call<T>(call: Call<T>): Promise<T>
  /** A request that only looks, without a line of its own. */
  look<T>(call: Call<T>): Promise<T>
}

// Loopback answers in milliseconds; whatever takes so long hangs.
const PATIENCE_MS = 10_000

/** @param place the part of the path that every line would repeat. */
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
        authorization: `Bearer ${call.as}`,
        ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]),
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
