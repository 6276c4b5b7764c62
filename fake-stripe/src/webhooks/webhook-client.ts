import { createHmac } from 'node:crypto'
import http from 'node:http'
import https from 'node:https'

export type WebhookPost = { url: string; body: string; signature: string; timeoutMs: number }

/** The result of one POST. It fails unless a 2xx arrives in time; a redirect is a failure too. */
export type WebhookResult = {
  /** Null when there was no response. */
  status: number | null
  error: string | null
  ms: number
  /** The first characters of the response, for the dashboard. */
  response: string
}

const MAX_RESPONSE_LENGTH = 500

/** Posts webhooks over its own connections; `close` cuts them. */
export class WebhookClient {
  #agents = {
    'http:': new http.Agent({ keepAlive: true, maxSockets: 32 }),
    'https:': new https.Agent({ keepAlive: true, maxSockets: 32 }),
  }
  #closed = false

  /** Never rejects. */
  async post(post: WebhookPost): Promise<WebhookResult> {
    const started = performance.now()
    const spent = () => Math.round(performance.now() - started)
    try {
      const { status, response } = await this.#send(post, true)
      const error = status >= 200 && status < 300 ? null : `HTTP ${status}`
      return { status, error, response, ms: spent() }
    } catch (error) {
      return { status: null, error: reason(error, post), response: '', ms: spent() }
    }
  }

  close(): void {
    this.#closed = true
    for (const agent of Object.values(this.#agents)) agent.destroy()
  }

  #send(post: WebhookPost, mayRepeat: boolean): Promise<{ status: number; response: string }> {
    const secure = post.url.startsWith('https:')
    return new Promise((resolve, reject) => {
      const request = (secure ? https : http).request(post.url, {
        method: 'POST',
        agent: this.#agents[secure ? 'https:' : 'http:'],
        signal: AbortSignal.timeout(post.timeoutMs),
        headers: {
          'Content-Type': 'application/json; charset=utf-8',
          'Content-Length': Buffer.byteLength(post.body),
          'Stripe-Signature': post.signature,
          'User-Agent': 'Stripe/1.0 (+https://stripe.com/docs/webhooks)',
        },
      })
      request.on('response', (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          if (text.length < MAX_RESPONSE_LENGTH) text += chunk
        })
        response.on('error', reject)
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            response: text.slice(0, MAX_RESPONSE_LENGTH),
          }),
        )
      })
      request.on('error', (error) => {
        // The receiver closed an idle connection at the moment of its reuse, so it did not see this
        // attempt.
        const stale = request.reusedSocket && 'code' in error && error.code === 'ECONNRESET'
        if (stale && mayRepeat && !this.#closed) this.#send(post, false).then(resolve, reject)
        else reject(error)
      })
      request.end(post.body)
    })
  }
}

function reason(error: unknown, { timeoutMs }: WebhookPost): string {
  if (!(error instanceof Error)) return String(error)
  return error.name === 'AbortError' ? `timeout after ${timeoutMs} ms` : error.message
}

/**
 * The `Stripe-Signature` header. It has one `v1` for each active secret, so that receivers with the
 * old or the new secret accept it while a secret is rolled. Stripe adds `v0` to test events;
 * receivers must ignore it.
 *
 * @param timestamp seconds since 1970, of this attempt.
 * @param body the exact text of the request.
 * @see https://docs.stripe.com/webhooks#verify-manually
 */
export function signWebhook(secrets: readonly string[], timestamp: number, body: string): string {
  const signatures = secrets.map((secret) => `v1=${hmac(secret, timestamp, body)}`)
  const testScheme = `v0=${hmac('test-scheme', timestamp, body)}`
  return [`t=${timestamp}`, ...signatures, testScheme].join(',')
}

function hmac(secret: string, timestamp: number, body: string): string {
  return createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex')
}
