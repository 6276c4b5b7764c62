import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { RequestFilteringHttpAgent, RequestFilteringHttpsAgent } from 'request-filtering-agent'
import { SERVICE_VERSION } from '../../shared/service-version.ts'

/** What the specification calls reasonable for a receiver to answer. Milliseconds. */
const TIMEOUT_MS = 15_000

/** Single addresses and no ranges: the filter compares ranges within one family only. */
const LOOPBACK = ['127.0.0.1', '::1']

export type WebhookPost = {
  url: string
  headers: Record<string, string>
  body: string
  signal: AbortSignal
}

/**
 * Posts and resolves with the HTTP status. A redirect is not followed: it could lead anywhere, and
 * the specification counts it as a failure.
 *
 * @throws Error when there was no answer in time, or the address leads into a private network.
 */
export type PostWebhook = (post: WebhookPost) => Promise<number>

/**
 * A sender that looks at every address after its name was resolved, on the connection that is then
 * used, so that a name cannot lead elsewhere between the look and the call.
 */
export function createPostWebhook(options: { allowLoopback: boolean }): PostWebhook {
  // A connection each: tries of one endpoint are minutes apart.
  const filter = {
    keepAlive: false,
    ...(options.allowLoopback ? { allowIPAddressList: LOOPBACK } : {}),
  }
  const agents = {
    http: new RequestFilteringHttpAgent(filter),
    https: new RequestFilteringHttpsAgent(filter),
  }
  return ({ url, headers, body, signal }) =>
    new Promise((resolve, reject) => {
      const isPlain = url.startsWith('http:')
      const send = isPlain ? httpRequest : httpsRequest
      const request = send(url, {
        method: 'POST',
        agent: isPlain ? agents.http : agents.https,
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
          'user-agent': `sponsor-vouchers/${SERVICE_VERSION}`,
          ...headers,
        },
        signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
      })
      request.on('error', reject)
      request.on('response', (response) => {
        resolve(response.statusCode ?? 0)
        // The status is all that counts; what else comes could be without end.
        response.destroy()
      })
      request.end(body)
    })
}
