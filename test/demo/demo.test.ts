import { readdir } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { runDemo } from '../../demo/run-demo.ts'
import { findServer } from '../../src/db/embedded/running-server.ts'
import { makeDataFolder, type Program, startProgram } from '../cli/start-program.ts'
import { discardScratchFolder } from '../support/test-servers.ts'

// Each demo starts a service. While other tests run, that takes many times longer than alone.
const TIMEOUT_MS = 120_000

let folder: string
beforeAll(async () => {
  folder = await makeDataFolder()
})
afterAll(() => discardScratchFolder(folder))

/** A process, as of `npm run demo`. The tests share it and its database server. */
let demo: Program
afterAll(async () => {
  demo.kill('SIGKILL')
  await demo.ended
})
let service: string
let ports: string[]
beforeAll(async () => {
  const args = ['--data-dir', folder, '--port', '0', '--stripe-port', '0', '--purchases', '10']
  demo = startProgram('demo/main.ts', args)
  let hasEnded = false
  void demo.ended.then(() => (hasEnded = true))
  await vi.waitUntil(() => hasEnded || demo.stdout.includes('Try it yourself'), TIMEOUT_MS)
  if (hasEnded) throw new Error(`The demo ended:\n${demo.stdout}\n${demo.stderr}`)
  ports = portsOf(demo)
  service = `http://127.0.0.1:${ports[1]}`
}, TIMEOUT_MS)

type DemoHere = Pick<Program, 'stdout' | 'stderr'> & {
  exitCode: Promise<number>
  /** What Ctrl-C does. */
  interrupt(): void
}

/** A demo in this process: loading everything into another one takes longer than the story. */
function startDemoHere(wanted: { port?: number; stripePort?: number; once?: boolean }): DemoHere {
  const written = { stdout: '', stderr: '' }
  const streamTo = (name: 'stdout' | 'stderr') => ({
    colours: false,
    write: (text: string) => void (written[name] += text),
  })
  const controller = new AbortController()
  const defaults = {
    dataDir: folder,
    port: 0,
    stripePort: 0,
    nodeEnv: 'test',
    once: true,
    purchases: 0,
    buildPages: false,
  }
  const terminal = { out: streamTo('stdout'), err: streamTo('stderr') }
  const exitCode = runDemo({ ...defaults, ...wanted }, terminal, controller.signal)
  return {
    get stdout() {
      return written.stdout
    },
    get stderr() {
      return written.stderr
    },
    exitCode,
    interrupt: () => controller.abort(),
  }
}

function portsOf({ stdout }: Pick<Program, 'stdout'>): string[] {
  const lines = stdout.matchAll(/✔ (?:service|fake Stripe) +http:\/\/127\.0\.0\.1:(\d+)/g)
  return [...lines].map(([, port]) => port ?? '')
}

describe('the demo', { timeout: TIMEOUT_MS }, () => {
  it('runs the whole story and keeps running', async () => {
    for (const line of [
      /✔ different codes +40/,
      /✔ a mail to the sponsor +Your 40 voucher codes for DevConf are ready\n +\S+\/mail\/mail_\w+\.eml\n/,
      /✔ its webhooks, verified +purchase.paid, vouchers.issued/,
      /✔ for another order: refused +used_up/,
      /✔ its webhooks, verified +purchase.refunded, vouchers.deactivated/,
      /✔ deactivated codes +10/,
      /✔ deactivated codes +40/,
      /✔ redeeming a code: refused +deactivated/,
      /✔ each transition exactly once +4 transitions/,
      /Every step had the expected result/,
    ]) {
      expect(demo.stdout).toMatch(line)
    }
    // No terminal, no colours.
    expect(demo.stdout).not.toContain('\u001b')
    expect((await fetch(`${service}/readyz`)).status).toBe(200)
    expect((await fetch(`http://127.0.0.1:${ports[0]}/`)).status).toBe(200)
    const key = /sponsor key +(\S+)/.exec(demo.stdout)?.[1]
    const list = `${service}/v1/conferences/devconf/purchases`
    const mine = await fetch(list, { headers: { authorization: `Bearer ${key}` } })
    expect(await mine.json()).toMatchObject({ data: [{ status: 'REFUNDED', quantity: 40 }] })
  })

  it('prints the webhooks that the requests of its user cause', async () => {
    const [, path = ''] = /API=(\S+)/.exec(demo.stdout) ?? []
    const [, order = ''] = /-d '(\{"ticket_type[^']+)'/.exec(demo.stdout) ?? []
    const [, key = ''] = /sponsor key +(\S+)/.exec(demo.stdout) ?? []
    const post = async (url: string, body: string) => {
      const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
      const answer = await fetch(url, { method: 'POST', headers, body })
      return (await answer.json()) as { id: string }
    }
    const { id } = await post(`${path}/purchases`, order)
    await post(`${path}/purchases/${id}/cancel`, '{}')
    await expect
      .poll(() => demo.stdout, { timeout: TIMEOUT_MS })
      .toContain(`← purchase.failed  {"purchase":"${id}"`)
  })

  it('prints links with which people open the portal and the console once', async () => {
    const open = async (place: string) => {
      await vi.waitUntil(() => demo.stdout.includes('users:sign-in-link'), TIMEOUT_MS)
      const link = new RegExp(`${place} +(\\S+return=/${place}/webcamp#token=(\\w+))`).exec(
        demo.stdout,
      )
      expect(link?.[1]).toContain(`${service}/sign-in`)
      return fetch(`${service}/v1/sessions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ token: link?.[2] }),
      })
    }
    const seenBy = async (answer: Response) => {
      const cookie = answer.headers.get('set-cookie')?.split(';')[0] ?? ''
      const me = await fetch(`${service}/v1/me`, { headers: { cookie } })
      return (await me.json()) as { email: string }
    }
    expect(await seenBy(await open('portal'))).toMatchObject({ email: 'ada@acme.example' })
    expect(await seenBy(await open('console'))).toMatchObject({
      email: 'olga@sponsor-vouchers.example',
    })
    expect((await open('console')).status).toBe(401)
  })

  it('fills a second conference with purchases of six weeks in every state', async () => {
    await expect
      .poll(() => demo.stdout, { timeout: TIMEOUT_MS })
      .toContain('✔ WebCamp 2027 has 10 purchases')
    const key = /operator key +(\S+)/.exec(demo.stdout)?.[1]
    const list = `${service}/v1/conferences/webcamp/purchases`
    const answer = await fetch(list, { headers: { authorization: `Bearer ${key}` } })
    const { data } = (await answer.json()) as { data: { status: string; created_at: string }[] }
    expect(new Set(data.map(({ status }) => status))).toEqual(
      new Set(['PENDING', 'PROCESSING', 'PAID', 'FAILED', 'REFUNDED']),
    )
    const days = new Set(data.map(({ created_at: at }) => at.slice(0, 10)))
    expect(days.size).toBeGreaterThan(4)
  })

  it('exits with 1 and prints both values when a step has an unexpected result', async () => {
    const send = globalThis.fetch
    // The service leaves a code out of its answers.
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (input, init) => {
      const answer = await send(input, init)
      if (!/\/purchases\/bp_\w+\/vouchers/.test(new Request(input).url)) return answer
      const page = (await answer.json()) as { data: unknown[] }
      return Response.json({ ...page, data: page.data.slice(1) }, { status: answer.status })
    })
    const failing = startDemoHere({})
    expect(await failing.exitCode).toBe(1)
    expect(failing.stdout).toMatch(/✘ different codes\n +expected +40\n +got +39\n/)
    expect(failing.stdout).not.toContain('Every step')
    expect(failing.stderr).toContain('different codes: expected 40, got 39')
  })

  it('with --once exits with 0 after the story, beside another demo that has its ports', async () => {
    const [stripePort = 0, port = 0] = ports.map(Number)
    const beside = startDemoHere({ port, stripePort })
    expect({ exitCode: await beside.exitCode, stderr: beside.stderr }).toEqual({
      exitCode: 0,
      stderr: '',
    })
    expect(beside.stdout).toMatch(/Every step had the expected result/)
    expect(beside.stdout).not.toContain('Try it yourself')
    expect(portsOf(beside)).toHaveLength(2)
    for (const taken of ports) expect(portsOf(beside)).not.toContain(taken)
  })

  it('can be stopped with Ctrl-C during the story', async () => {
    const stopped = startDemoHere({ once: false })
    await vi.waitFor(
      () => expect(stopped.stdout).toContain('A conference sets up its shop'),
      TIMEOUT_MS,
    )
    stopped.interrupt()
    expect(await stopped.exitCode).toBe(130)
    expect(stopped.stdout).not.toContain('Try it yourself')
  })

  it('runs on after other demos of its database server, and deletes everything at Ctrl-C', async () => {
    expect((await fetch(`${service}/readyz`)).status).toBe(200)
    demo.kill('SIGINT')
    expect(await demo.ended).toBe(0)
    await expect(fetch(`${service}/readyz`)).rejects.toThrow('fetch failed')
    // None of the demos keeps the server: the last one has stopped it.
    expect(await findServer(`${folder}/data`)).toBeUndefined()
    expect((await readdir(folder)).filter((name) => name.endsWith('.env'))).toEqual([])
  })
})
