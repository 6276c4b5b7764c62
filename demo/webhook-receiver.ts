import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Webhook } from 'standardwebhooks'
import { z } from 'zod'

const event = z.object({ type: z.string(), data: z.looseObject({}) })

export type ReceivedEvent = z.output<typeof event>

/** A receiver of outbound webhooks, as a shop would write it: it verifies the signature and answers 204. */
export type WebhookReceiver = {
  url: string
  /** The secret of the endpoint, which is known once the endpoint is created. */
  useSecret(secret: string): void
  /** Called for each verified event; a repeat of a delivery is dropped. */
  onEvent(listener: (event: ReceivedEvent) => void): void
  close(): Promise<void>
}

/** Starts the receiver on a free port of this machine. */
export async function startWebhookReceiver(): Promise<WebhookReceiver> {
  const seen = new Set<string>()
  let secret = ''
  let listener: (event: ReceivedEvent) => void = () => {}

  async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const body = await text(request)
      const headers = Object.entries(request.headers).map(([name, value]) => [name, String(value)])
      const verified = event.parse(new Webhook(secret).verify(body, Object.fromEntries(headers)))
      response.writeHead(204).end()
      const id = String(request.headers['webhook-id'])
      if (seen.has(id)) return
      seen.add(id)
      listener(verified)
    } catch {
      response.writeHead(400).end('The signature is not valid.\n')
    }
  }
  const server = createServer((request, response) => void receive(request, response))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo // it listens on a port
  return {
    url: `http://127.0.0.1:${port}/`,
    useSecret: (text) => void (secret = text),
    onEvent: (next) => void (listener = next),
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
