import { connect as connectSocket } from 'node:net'
import { PassThrough } from 'node:stream'
import { text as textOf } from 'node:stream/consumers'
import { beforeAll, describe, expect, it } from 'vitest'
import { sendUnreadableRequest } from '../../src/http/problem.ts'
import { createConference } from '../support/fixtures.ts'
import {
  type Body,
  type RequestOptions,
  startTestProcess,
  useTestApp,
} from '../support/test-app.ts'
import { validatorFor } from '../support/validate-response.ts'

const app = useTestApp()

const post = (body: unknown, more: RequestOptions = {}) =>
  app.request('POST', '/v1/conferences', { body, ...more })

const problem = (status: number, code: string) => ({
  status,
  headers: { 'content-type': expect.stringMatching(/^application\/problem\+json/) },
  body: { status, code, title: expect.any(String), detail: expect.any(String) },
})

const broken = (pointer: string) => ({
  ...problem(400, 'validation_failed'),
  body: { errors: [{ pointer, detail: expect.any(String) }] },
})

const conference = (fields: Body = {}) => ({
  slug: 'a-conference',
  name: 'A conference',
  currency: 'EUR',
  ...fields,
})

describe('an unreadable request', () => {
  it('is 400 as malformed JSON', async () => {
    for (const text of ['{"slug":', '{} {}', 'slug=x', '{"a":1,}']) {
      expect(await post(text)).toMatchObject(problem(400, 'malformed_json'))
    }
  })

  it('is 400 when it contains __proto__', async () => {
    expect(await post('{"__proto__":{"role":"operator"}}')).toMatchObject(
      problem(400, 'malformed_json'),
    )
  })

  it('is 413 above the limit', async () => {
    const body = conference({ name: 'x'.repeat(300 * 1024) })
    expect(await post(body)).toMatchObject(problem(413, 'payload_too_large'))
  })

  it('is 415 in another media type', async () => {
    const headers = { 'content-type': 'application/xml' }
    expect(await post('<conference/>', { headers })).toMatchObject(
      problem(415, 'unsupported_media_type'),
    )
  })

  it('is 400 without a body, and requires an object', async () => {
    for (const body of [undefined, '', 'null', '[]', '"text"', '7']) {
      const headers = { 'content-type': 'application/json' }
      expect(await post(body, { headers }), `body ${body}`).toMatchObject(broken('/'))
    }
  })

  it('is 400 for a path that is not a valid URL, and 404 for one that is too long', async () => {
    expect(await app.request('GET', '/v1/conferences/%zz')).toMatchObject(
      problem(400, 'validation_failed'),
    )
    expect(await app.request('GET', `/v1/conferences/${'x'.repeat(300)}`)).toMatchObject(
      problem(404, 'not_found'),
    )
  })
})

describe('an unknown path', () => {
  it('is 404, with and without a key', async () => {
    for (const as of [undefined, null]) {
      const options = as === undefined ? {} : { as }
      expect(await app.request('GET', '/v1/nothing', options)).toMatchObject(
        problem(404, 'not_found'),
      )
    }
  })
})

describe('an unknown method of a known path', () => {
  it('is 405 with the methods that the path supports, with and without a key', async () => {
    for (const as of [undefined, null]) {
      const options = as === undefined ? {} : { as }
      const answer = await app.request('PUT', '/v1/conferences', options)
      expect(answer).toMatchObject(problem(405, 'method_not_allowed'))
      expect(answer.body).toMatchObject({ detail: 'This path supports GET, HEAD, POST, not PUT.' })
      expect(answer.headers['allow']).toBe('GET, HEAD, POST')
    }
    const path = '/v1/conferences/pyconf/purchases/bp_1/cancel?reason=none'
    expect((await app.request('DELETE', path)).headers['allow']).toBe('POST')
  })
})

describe('a field that breaks a rule', () => {
  it('is reported with its rule', async () => {
    expect(await post({ name: 'No slug', currency: 'EUR' })).toMatchObject({
      body: { detail: 'slug is required', errors: [{ pointer: '/slug', detail: 'is required' }] },
    })
    expect(await post(conference({ slug: 'Not A Slug' }))).toMatchObject({
      body: {
        errors: [
          {
            pointer: '/slug',
            detail:
              'must have only lower-case letters, digits and hyphens, and must not begin with a hyphen',
          },
        ],
      },
    })
    expect(await post(conference({ currency: 'XXX' }))).toMatchObject(broken('/currency'))
    expect(await post(conference({ max_quantity: 0 }))).toMatchObject(broken('/max_quantity'))
    expect(await post(conference({ max_quantity: 1.5 }))).toMatchObject(broken('/max_quantity'))
    expect(await post(conference({ allowed_origins: ['https://ok.example', 'x'] }))).toMatchObject(
      broken('/allowed_origins/1'),
    )
  })

  it('is refused if unknown, in the body and in the query', async () => {
    expect(await post(conference({ colour: 'red' }))).toMatchObject({
      body: { errors: [{ pointer: '/colour', detail: 'is not a known field' }] },
    })
    expect(await post(conference({ 'a/b~c': 1 }))).toMatchObject(broken('/a~1b~0c'))
    expect(await app.request('GET', '/v1/conferences?color=red')).toMatchObject(
      broken('query/color'),
    )
  })

  it('lists all errors together', async () => {
    const { body } = await post({ slug: 1, name: '', currency: 'EUR', colour: 'red' })
    const errors = body['errors'] as { pointer: string }[]
    expect(errors.map(({ pointer }) => pointer).toSorted()).toEqual(['/colour', '/name', '/slug'])
  })

  it('is 400 also for text that Postgres cannot store', async () => {
    const nul = String.fromCharCode(0)
    expect(await post(conference({ name: `a${nul}b` }))).toMatchObject(broken('/name'))
    expect(await post(conference({ allowed_origins: [nul] }))).toMatchObject(
      broken('/allowed_origins/0'),
    )
    const { path } = await createConference(app)
    expect(await app.request('GET', '/v1/conferences/a%00b')).toMatchObject(
      broken('params/conference'),
    )
    expect(await app.request('GET', `${path}/sponsors?q=%00`)).toMatchObject(broken('query/q'))
    expect(await app.request('GET', `${path}/sponsors/%00`)).toMatchObject(broken('params/id'))
  })

  it('of a header is reported too', async () => {
    const headers = { 'idempotency-key': 'x'.repeat(256) }
    expect(await post(conference(), { headers })).toMatchObject(broken('header/idempotency-key'))
  })
})

describe('every response', () => {
  it('has a request id: the caller’s own if it is safe to log', async () => {
    const given = await app.request('GET', '/v1/nothing', { headers: { 'x-request-id': 'abc-1' } })
    expect(given).toMatchObject({
      headers: { 'request-id': 'abc-1' },
      body: { request_id: 'abc-1' },
    })
    const odd = await app.request('GET', '/v1/conferences', {
      headers: { 'x-request-id': 'a "quoted" one' },
    })
    expect(odd.headers['request-id']).toMatch(/^req_[0-9A-Z]{20}$/)
  })

  it('has the security headers of any other response, and no header of another', async () => {
    const process = await startTestProcess(app.connectionString)
    const names: string[][] = []
    for (const path of ['/v1/conferences/none', '/v1/conferences', '/nowhere', '/livez']) {
      const { headers } = await process.request('GET', path)
      expect(headers).toMatchObject({
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'SAMEORIGIN',
        'referrer-policy': 'no-referrer',
        'cross-origin-resource-policy': 'same-origin',
        'strict-transport-security': expect.any(String),
        'content-security-policy': expect.stringContaining("default-src 'none'"),
      })
      const isOfHelmet = (name: string) => !/^(x-ratelimit|content-(type|length)|cache)/.test(name)
      names.push(Object.keys(headers).filter(isOfHelmet).toSorted())
    }
    await process.close()
    expect(new Set(names.map((each) => each.join()))).toHaveLength(1)
  })
})

it('a DELETE may come with a JSON content type and no body', async () => {
  const { path } = await createConference(app)
  const headers = { 'content-type': 'application/json' }
  expect(
    await app.request('DELETE', `${path}/webhook-secrets/whs_none`, { headers }),
  ).toMatchObject(problem(404, 'not_found'))
})

describe('a request that reaches no route', () => {
  const documented = validatorFor({ $ref: '#/components/schemas/Problem' })
  let address: string
  beforeAll(async () => {
    address = await app.app.listen({ port: 0, host: '127.0.0.1' })
  })

  it('with an unpaired surrogate is a broken field, not an error of the service (issue 8, line 27)', async () => {
    expect(await post('{"slug":"x","name":"\\ud800","currency":"EUR"}')).toMatchObject(
      broken('/name'),
    )
    expect(await post('{"slug":"x","name":"x","currency":"EUR","\\udfff":1}')).toMatchObject({
      status: 400,
      body: { code: 'validation_failed' },
    })
  })

  it('with an address above 16 kB gets a problem document (issue 8, line 27)', async () => {
    const answer = await fetch(`${address}/${'x'.repeat(20_000)}`)
    expect(answer.status).toBe(431)
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    const body = await answer.json()
    expect(body).toMatchObject({
      status: 431,
      code: 'request_header_too_large',
      request_id: answer.headers.get('request-id'),
    })
    expect(documented(body), JSON.stringify(documented.errors)).toBe(true)
  })

  it('because it is not HTTP gets one too', async () => {
    const { hostname, port } = new URL(address)
    const socket = connectSocket(Number(port), hostname)
    socket.end('not HTTP\r\n\r\n')
    const [head = '', text = ''] = (await textOf(socket)).split('\r\n\r\n')
    expect(head).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/)
    expect(head).toContain('content-type: application/problem+json')
    const body: unknown = JSON.parse(text)
    expect(body).toMatchObject({ status: 400, code: 'malformed_http' })
    expect(documented(body), JSON.stringify(documented.errors)).toBe(true)
  })

  // Node waits a minute for the headers, so the test starts where Node has given up.
  it('because it stays incomplete is not called invalid', async () => {
    const socket = new PassThrough()
    const late = Object.assign(new Error('late'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' })
    sendUnreadableRequest(late, socket, {
      requestId: 'req_1',
      publicUrl: null,
      logger: { info: () => {} },
    })
    const [head = '', text = ''] = (await textOf(socket)).split('\r\n\r\n')
    expect(head).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/)
    const body: unknown = JSON.parse(text)
    expect(body).toMatchObject({ status: 408, code: 'request_timeout', request_id: 'req_1' })
    expect(documented(body), JSON.stringify(documented.errors)).toBe(true)
  })
})
