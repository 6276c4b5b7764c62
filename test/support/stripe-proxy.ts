import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { afterAll, beforeAll } from 'vitest'

type Match = { method?: 'GET' | 'POST'; path: RegExp }

/** One request to Stripe that waits. */
export type HeldRequest = {
  /** Resolves when the request waits. */
  reached: Promise<void>
  /**
   * Lets it go on. `lose`: the client gets no answer, its connection is closed. If the request has not come
   * yet, nothing is held any more.
   */
  release(how?: 'answer' | 'lose'): void
}

type Hold = Match & {
  when: 'request' | 'answer'
  reach: () => void
  released: Promise<'answer' | 'lose'>
}

export type StripeProxy = {
  readonly url: string
  /** Holds the next request that matches, before Stripe gets it. */
  holdRequest(match: Match): HeldRequest
  /** Holds Stripe's answer to the next request that matches: it says what Stripe had at that moment. */
  holdAnswer(match: Match): HeldRequest
}

/**
 * Stands between the service and the fake Stripe, so that a test decides when a request reaches Stripe and
 * when its answer arrives.
 */
export function useStripeProxy(stripe: { readonly fake: { url: string } }): StripeProxy {
  let holds: Hold[] = []
  let url = ''

  function take(request: IncomingMessage): Hold | undefined {
    const { pathname } = new URL(request.url ?? '/', 'http://stripe')
    const hold = holds.find(
      ({ method, path }) => (method ?? request.method) === request.method && path.test(pathname),
    )
    holds = holds.filter((one) => one !== hold)
    return hold
  }

  async function wait(hold: Hold): Promise<'answer' | 'lose'> {
    hold.reach()
    return hold.released
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const hold = take(request)
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    if (hold?.when === 'request' && (await wait(hold)) === 'lose') {
      response.destroy()
      return
    }
    const { method = 'GET', headers } = request
    const answer = await fetch(`${stripe.fake.url}${request.url ?? '/'}`, {
      method,
      headers: Object.fromEntries(
        Object.entries(headers).flatMap(([name, value]) =>
          typeof value === 'string' && !HOP_BY_HOP.has(name) ? [[name, value]] : [],
        ),
      ),
      ...(method === 'GET' ? {} : { body: Buffer.concat(chunks) }),
    })
    const body = Buffer.from(await answer.arrayBuffer())
    if (hold?.when === 'answer' && (await wait(hold)) === 'lose') {
      response.destroy()
      return
    }
    for (const [name, value] of answer.headers) {
      if (!HOP_BY_HOP.has(name)) response.setHeader(name, value)
    }
    response.writeHead(answer.status).end(body)
  }

  const server = createServer((request, response) => {
    // Stripe itself closed the connection: so does the proxy.
    handle(request, response).catch(() => response.destroy())
  })
  beforeAll(async () => {
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('No TCP port was given')
    url = `http://127.0.0.1:${address.port}`
  })
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })

  function add(match: Match, when: Hold['when']): HeldRequest {
    let release: HeldRequest['release'] = () => {}
    const released = new Promise<'answer' | 'lose'>((resolve) => {
      release = (how = 'answer') => resolve(how)
    })
    let reach = () => {}
    const reached = new Promise<void>((resolve) => {
      reach = resolve
    })
    const hold = { ...match, when, reach, released }
    holds.push(hold)
    return {
      reached,
      release(how) {
        holds = holds.filter((one) => one !== hold)
        release(how)
      },
    }
  }

  return {
    get url() {
      return url
    },
    holdRequest: (match) => add(match, 'request'),
    holdAnswer: (match) => add(match, 'answer'),
  }
}

const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'host',
  'content-length',
  'transfer-encoding',
])
