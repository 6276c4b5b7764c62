import http from 'node:http'
import Stripe from 'stripe'
import { onTestFinished } from 'vitest'

export type Received = {
  body: string
  signature: string
  /** Read from the body, without a check of the signature. */
  event: Stripe.Event
  headers: http.IncomingHttpHeaders
}

export type WebhookReceiver = {
  url: string
  received: Received[]
  /** The types so far, in the order of their arrival. */
  types(): string[]
  /** What the next requests are answered with; 200 when it is used up. `hang`: never. */
  answerWith(...answers: (number | 'hang')[]): void
}

/** A web server that takes webhooks, closed when the test ends. */
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

/** The event, if the signature is right. @throws StripeSignatureVerificationError otherwise. */
export function verify({ body, signature }: Received, secret: string): Stripe.Event {
  return verifier.webhooks.constructEvent(body, signature, secret)
}
