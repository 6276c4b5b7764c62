import { readdir } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { findServer } from '../../src/db/embedded/running-server.ts'
import { makeDataFolder, type Program, startProgram } from '../cli/start-program.ts'
import { discardScratchFolder } from '../support/test-servers.ts'

// Each demo is a process that starts a database and a service. While other tests run, that takes many
// times longer than alone.
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

function startDemo(args: readonly string[], env: NodeJS.ProcessEnv = {}): Program {
  const all = ['--data-dir', folder, '--port', '0', '--stripe-port', '0', ...args]
  const program = startProgram('demo/main.ts', all, env)
  running.push(program)
  return program
}

const portsOf = (program: Program) =>
  [...program.stdout.matchAll(/✔ (?:service|fake Stripe) +http:\/\/127\.0\.0\.1:(\d+)/g)].map(
    ([, port]) => port,
  )

describe('the demo', { timeout: 2 * TIMEOUT_MS }, () => {
  it('exits with 1 and prints both values when a step has an unexpected result', async () => {
    const tamper = `--import=${new URL('drop-a-code.mjs', import.meta.url).href}`
    const demo = startDemo(['--once'], { NODE_OPTIONS: tamper })
    expect(await demo.ended).toBe(1)
    expect(demo.stdout).toMatch(/✘ different codes\n +expected +40\n +got +39\n/)
    expect(demo.stdout).not.toContain('Every step')
    expect(demo.stderr).toContain('different codes: expected 40, got 39')
    expect(await findServer(`${folder}/data`)).toBeUndefined()
  })

  it('keeps running until Ctrl-C, while another demo runs the whole story', async () => {
    const demo = startDemo([])
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
    demo.kill('SIGINT')
    expect(await demo.ended).toBe(0)
    await expect(fetch(`${service}/readyz`)).rejects.toThrow('fetch failed')
    expect(await findServer(`${folder}/data`)).toBeUndefined()
    expect((await readdir(folder)).filter((name) => name.endsWith('.env'))).toEqual([])
  })

  it('can be stopped during the story', async () => {
    const demo = startDemo([])
    await vi.waitFor(
      () => expect(demo.stdout).toContain('A conference sets up its shop'),
      TIMEOUT_MS,
    )
    demo.kill('SIGTERM')
    expect(await demo.ended).toBe(130)
    expect(demo.stdout).not.toContain('Try it yourself')
    expect(await findServer(`${folder}/data`)).toBeUndefined()
  })
})
