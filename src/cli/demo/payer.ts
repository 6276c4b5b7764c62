import { Mismatch } from './mismatch.ts'
import type { Narrator } from './narrator.ts'
import { shortIds } from './short-ids.ts'

/** What the payer saw and where the payment page sent them. */
export type Paid = { page: string; returnedTo: string | null }

/**
 * Pays as a browser does, without one: opens the page and submits its form.
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
