import { once } from 'node:events'
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { afterAll } from 'vitest'

export type Balancer = {
  url: string
  /** Sends new requests to these addresses, in turn. Resolves when the others have answered theirs. */
  use(addresses: readonly string[]): Promise<void>
  /** How many requests an address has answered. */
  answered(address: string): number
}

/** A load balancer in this process, for tests that say themselves when a process gets requests. */
export async function startBalancer(): Promise<Balancer> {
  const agent = new Agent({ keepAlive: true })
  let targets: readonly string[] = []
  let next = 0
  const inFlight = new Map<string, Set<Promise<unknown>>>()
  const answered = new Map<string, number>()

  async function forward(from: IncomingMessage, to: ServerResponse, target: string): Promise<void> {
    const { method, headers } = from
    const sent = request(`${target}${from.url ?? '/'}`, { method, headers, agent })
    from.pipe(sent)
    const [answer] = (await once(sent, 'response')) as [IncomingMessage]
    to.writeHead(answer.statusCode ?? 502, answer.headers)
    answer.pipe(to)
    await once(to, 'close')
    answered.set(target, (answered.get(target) ?? 0) + 1)
  }

  const server = createServer((from, to) => {
    const target = targets[next++ % targets.length]
    if (target === undefined) return void to.writeHead(503).end('No process gets requests.')
    const running = forward(from, to, target).catch((error: unknown) => {
      if (!to.headersSent) to.writeHead(502).end(String(error))
      else to.destroy()
    })
    const others = inFlight.get(target) ?? new Set()
    inFlight.set(target, others.add(running))
    void running.finally(() => others.delete(running))
  })
  // A connection that ends while a client sends its next request would look like a request that failed.
  server.keepAliveTimeout = 0
  await once(server.listen(0, '127.0.0.1'), 'listening')
  afterAll(() => {
    server.closeAllConnections()
    server.close()
    agent.destroy()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('No TCP port was given')
  return {
    url: `http://127.0.0.1:${address.port}`,
    async use(addresses) {
      const left = targets.filter((one) => !addresses.includes(one))
      targets = [...addresses]
      await Promise.all(left.flatMap((one) => [...(inFlight.get(one) ?? [])]))
    },
    answered: (target) => answered.get(target) ?? 0,
  }
}
