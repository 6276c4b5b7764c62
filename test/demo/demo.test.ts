import { readdir } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
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

const running: Program[] = []
afterEach(async () => {
  for (const program of running.splice(0)) {
    program.kill('SIGKILL')
    await program.ended
  }
})

/** A process, as `npm run demo` starts it. */
function startDemo(args: readonly string[]): Program {
  const all = ['--data-dir', folder, '--port', '0', '--stripe-port', '0', ...args]
  const program = startProgram('demo/main.ts', all)
  running.push(program)
  return program
}

type DemoHere = Pick<Program, 'stdout' | 'stderr'> & {
  exitCode: Promise<number>
  /** What Ctrl-C does. */
  interrupt(): void
}

/** A demo in this process: loading everything into another one takes longer than the story. */
function startDemoHere(once: boolean): DemoHere {
  const written = { stdout: '', stderr: '' }
  const streamTo = (name: 'stdout' | 'stderr') => ({
    colours: false,
    write: (text: string) => void (written[name] += text),
  })
  const controller = new AbortController()
  const options = { dataDir: folder, port: 0, stripePort: 0, nodeEnv: 'test', once }
  const terminal = { out: streamTo('stdout'), err: streamTo('stderr') }
  const exitCode = runDemo(options, terminal, controller.signal)
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

const portsOf = (program: Pick<Program, 'stdout'>) =>
  [...program.stdout.matchAll(/✔ (?:service|fake Stripe) +http:\/\/127\.0\.0\.1:(\d+)/g)].map(
    ([, port]) => port,
  )

describe('the demo', { timeout: 2 * TIMEOUT_MS }, () => {
  it('exits with 1 and prints both values when a step has an unexpected result', async () => {
    const send = globalThis.fetch
    // The service leaves a code out of its answers.
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (input, init) => {
      const answer = await send(input, init)
      if (!/\/purchases\/bp_\w+\/vouchers/.test(new Request(input).url)) return answer
      const page = (await answer.json()) as { data: unknown[] }
      return Response.json({ ...page, data: page.data.slice(1) }, { status: answer.status })
    })
    const demo = startDemoHere(true)
    expect(await demo.exitCode).toBe(1)
    expect(demo.stdout).toMatch(/✘ different codes\n +expected +40\n +got +39\n/)
    expect(demo.stdout).not.toContain('Every step')
    expect(demo.stderr).toContain('different codes: expected 40, got 39')
    expect(await findServer(`${folder}/data`)).toBeUndefined()
  })

  it('keeps running until it is stopped, while another demo runs the whole story', async () => {
    const demo = startDemoHere(false)
    await vi.waitFor(() => expect(demo.stdout).toContain('Try it yourself'), TIMEOUT_MS)
    const [stripePort, port] = portsOf(demo)
    const service = `http://127.0.0.1:${port}`
    expect((await fetch(`${service}/readyz`)).status).toBe(200)
    expect((await fetch(`http://127.0.0.1:${stripePort}/`)).status).toBe(200)
    const key = /sponsor key +(\S+)/.exec(demo.stdout)?.[1]
    const list = `${service}/v1/conferences/devconf/purchases`
    const mine = await fetch(list, { headers: { authorization: `Bearer ${key}` } })
    expect(await mine.json()).toMatchObject({ data: [{ status: 'REFUNDED', quantity: 40 }] })

    const taken = ['--port', String(port), '--stripe-port', String(stripePort)]
    const beside = startDemo(['--once', ...taken])
    expect({ exitCode: await beside.ended, stderr: beside.stderr }).toEqual({
      exitCode: 0,
      stderr: '',
    })
    expect(portsOf(beside)).not.toEqual(portsOf(demo))
    for (const line of [
      /✔ different codes +40/,
      /✔ a mail to the sponsor +Your 40 voucher codes for DevConf are ready\n +\S+\/mail\/mail_\w+\.eml\n/,
      /✔ for another order: refused +used_up/,
      /✔ deactivated codes +10/,
      /✔ deactivated codes +40/,
      /✔ redeeming a code: refused +deactivated/,
      /✔ each transition exactly once +4 transitions/,
      /Every step had the expected result/,
    ]) {
      expect(beside.stdout).toMatch(line)
    }
    // No terminal, no colours.
    expect(beside.stdout).not.toContain('\u001b')

    expect((await fetch(`${service}/readyz`)).status).toBe(200)
    demo.interrupt()
    expect(await demo.exitCode).toBe(0)
    await expect(fetch(`${service}/readyz`)).rejects.toThrow('fetch failed')
    expect(await findServer(`${folder}/data`)).toBeUndefined()
    expect((await readdir(folder)).filter((name) => name.endsWith('.env'))).toEqual([])
  })

  it('can be stopped with Ctrl-C during the story', async () => {
    const demo = startDemo([])
    await vi.waitFor(
      () => expect(demo.stdout).toContain('A conference sets up its shop'),
      TIMEOUT_MS,
    )
    demo.kill('SIGINT')
    expect(await demo.ended).toBe(130)
    expect(demo.stdout).not.toContain('Try it yourself')
    expect(await findServer(`${folder}/data`)).toBeUndefined()
  })
})
