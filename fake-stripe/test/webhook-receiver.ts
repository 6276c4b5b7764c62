import http from 'node:http'
import Stripe from 'stripe'
import { onTestFinished } from 'vitest'

export type Received = {
  body: string
  signature: string
  /** From the body; the signature is not checked. */
  event: Stripe.Event
  headers: http.IncomingHttpHeaders
}

export type WebhookReceiver = {
  url: string
  received: Received[]
  /** The types of all received events, in the order of their arrival. */
  types(): string[]
  /** The status of the next responses, later 200. `hang`: no response. */
  answerWith(...answers: (number | 'hang')[]): void
}

/** Starts a web server that receives webhooks; it is closed when the test ends. */
export async function startReceiver(): Promise<WebhookReceiver> {
  const received: Received[] = []
  const answers: (number | 'hang')[] = []
  const server = http.createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString('utf8')
    })
    request.on('end', () => {
      const event = JSON.parse(body) as Stripe.Event // our own sender
      const signature = String(request.headers['stripe-signature'])
      received.push({ body, signature, event, headers: request.headers })
      const status = answers.shift() ?? 200
      if (status !== 'hang') response.writeHead(status).end('noted')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    url: `http://127.0.0.1:${address.port}/webhooks`,
    received,
    types: () => received.map(({ event }) => event.type),
    answerWith: (...next) => answers.push(...next),
  }
}

const verifier = new Stripe('sk_test_verifier')

/** The event. @throws StripeSignatureVerificationError for a wrong signature. */
export function verify({ body, signature }: Received, secret: string): Stripe.Event {
  return verifier.webhooks.constructEvent(body, signature, secret)
}
