import Fastify from 'fastify'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { addProblemHandlers } from '../../src/http/problem.ts'
import { addReadinessGate, createLifecycle, type Lifecycle } from '../../src/http/readiness.ts'

let app: ReturnType<typeof Fastify>
let lifecycle: Lifecycle
beforeEach(() => {
  app = Fastify()
  lifecycle = createLifecycle()
  addProblemHandlers(app, null)
  addReadinessGate(app, lifecycle)
  app.get('/probe', { config: { access: 'public' } }, async () => 'alive')
  app.get('/purchases', { config: { access: 'operator' } }, async () => 'answer')
  app.post('/webhook', { config: { access: 'stripe' } }, async () => 'stored')
})
afterEach(() => app.close())

const status = async (method: 'GET' | 'POST', url: string) =>
  (await app.inject({ method, url })).statusCode

const all = async () => [
  await status('GET', '/probe'),
  await status('GET', '/purchases'),
  await status('POST', '/webhook'),
]

describe('the readiness gate', () => {
  it('is closed until the checks at start have passed, and while the process stops', async () => {
    expect(await all()).toEqual([200, 503, 503])
    lifecycle.serve()
    expect(await all()).toEqual([200, 200, 200])
    lifecycle.stop()
    expect(await all()).toEqual([200, 503, 503])
  })

  it('stays open while load balancers take the process out, and asks clients to connect again', async () => {
    expect(lifecycle.drain()).toBe(false)
    lifecycle.serve()
    expect(lifecycle.drain()).toBe(true)
    expect(await all()).toEqual([200, 200, 200])
    expect((await app.inject('/purchases')).headers['connection']).toBe('close')
    lifecycle.stop()
    expect(await all()).toEqual([200, 503, 503])
  })

  it('stays closed when a start completes during a stop', async () => {
    lifecycle.stop()
    lifecycle.serve()
    expect(lifecycle.phase).toBe('stopping')
  })

  it('sends clients to another process with a problem document', async () => {
    const { headers, body } = await app.inject('/purchases')
    expect(headers).toMatchObject({
      'content-type': expect.stringContaining('application/problem+json'),
      'retry-after': '2',
    })
    expect(JSON.parse(body)).toMatchObject({ status: 503, code: 'not_ready' })
  })

  it('closes connections with their next response once the process stops', async () => {
    lifecycle.serve()
    expect((await app.inject('/purchases')).headers['connection']).toBe('keep-alive')
    lifecycle.stop()
    for (const url of ['/purchases', '/probe']) {
      expect((await app.inject(url)).headers['connection']).toBe('close')
    }
  })
})
