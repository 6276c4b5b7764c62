import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { afterAll, beforeAll } from 'vitest'

const ACCOUNT = { id: 'acct_stub', object: 'account' }
const NO_EVENTS = { object: 'list', data: [], has_more: false, url: '/v1/events' }

/** Enough of Stripe for two jobs: the account of a key, and an empty list of events. */
export type StubStripe = {
  readonly url: string
  /** How often the list of events was requested. */
  readonly eventLists: number
  /** From now on, requests for the list of events hang. */
  hold(): void
  /** Answers all waiting and future requests. */
  release(): void
}

export function useStubStripe(): StubStripe {
  let held: ServerResponse[] | null = null
  let eventLists = 0
  let url = ''
  const send = (response: ServerResponse, body: object) =>
    response.setHeader('content-type', 'application/json').end(JSON.stringify(body))
  const server = createServer((request, response) => {
    if (!request.url?.startsWith('/v1/events')) return send(response, ACCOUNT)
    eventLists += 1
    return held === null ? send(response, NO_EVENTS) : held.push(response)
  })
  const release = () => {
    for (const response of held?.splice(0) ?? []) send(response, NO_EVENTS)
    held = null
  }
  beforeAll(async () => {
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('No TCP port was given')
    url = `http://127.0.0.1:${address.port}`
  })
  afterAll(() => {
    release()
    server.closeAllConnections()
    server.close()
  })
  return {
    get url() {
      return url
    },
    get eventLists() {
      return eventLists
    },
    hold() {
      held ??= []
    },
    release,
  }
}
