import http from 'node:http'
import { onTestFinished } from 'vitest'

export type Hook = { headers: Record<string, string>; body: string }

/** `hang`: no response. `redirect`: to another path of this receiver. */
type HookAnswer = number | 'hang' | 'redirect'

export type HookReceiver = {
  url: string
  received: Hook[]
  /** The responses to the next requests. After that, 200. */
  answerWith(...answers: HookAnswer[]): void
}

/** A web server that receives our webhooks, closed when the test ends. */
export async function startHookReceiver(): Promise<HookReceiver> {
  const received: Hook[] = []
  const answers: HookAnswer[] = []
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const headers = Object.fromEntries(
        Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
      )
      received.push({ headers, body: Buffer.concat(chunks).toString('utf8') })
      const answer = answers.shift() ?? 200
      if (answer === 'redirect') response.writeHead(307, { location: '/elsewhere' }).end()
      else if (answer !== 'hang') response.writeHead(answer).end('noted')
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
    url: `http://127.0.0.1:${address.port}/hooks`,
    received,
    answerWith: (...next) => answers.push(...next),
  }
}
