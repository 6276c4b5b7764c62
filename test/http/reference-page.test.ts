import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { type ApiDocument, operationsOf } from '../../src/http/openapi/api-document.ts'
import { ERROR_CATALOGUE } from '../../src/shared/errors.ts'
import { useTestApp } from '../support/test-app.ts'
import { openapiYaml } from '../support/validate-response.ts'

const document = openapiYaml()
const operations = operationsOf(document)

/** What a reader sees of a page, and what the browser's search finds. */
const textOf = (page: string) =>
  page
    .replace(/<(style|script)>[^]*?<\/\1>/g, '')
    .replaceAll(/<[^>]+>/g, '')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')

describe('the reference of the API', () => {
  const app = useTestApp()

  it('is one page of less than 100 kB that loads nothing else', async () => {
    const page = await app.request<string>('GET', '/docs', { as: null })
    expect(page).toMatchObject({ status: 200, headers: { 'content-type': /^text\/html/ } })
    expect(page.body).toContain('<title>sponsor-vouchers API</title>')
    expect(page.body).not.toMatch(/<(img|link|iframe)| src=|@import|url\(/)
    const policy = String(page.headers['content-security-policy'])
    expect(policy).toContain("default-src 'none'")
    expect(policy).not.toMatch(/https?:|unsafe|'self'/)
    for (const element of ['style', 'script']) {
      const [, source = ''] = new RegExp(`<${element}>([^]*?)</${element}>`).exec(page.body) ?? []
      const hash = createHash('sha256').update(source).digest('base64')
      expect(policy).toContain(`${element}-src 'sha256-${hash}'`)
    }
    expect(gzipSync(page.body).length).toBeLessThan(100_000)
  })

  it('has every operation, field and error as text, which the search of a browser finds', async () => {
    const { body } = await app.request<string>('GET', '/docs', { as: null })
    const shown = textOf(body)
    const plain = (text: string) => text.replaceAll(/[`*]/g, '')
    const words = operations.flatMap(({ path, operation: { operationId, summary, description } }) =>
      [path, operationId, summary, description ?? ''].map(plain),
    )
    const fields = Object.values(document.components.schemas).flatMap((schema) => [
      ...Object.keys(schema['properties'] ?? {}),
      plain(typeof schema['description'] === 'string' ? schema['description'] : ''),
    ])
    const texts = [...new Set([...words, ...fields, ...Object.keys(ERROR_CATALOGUE)])]
    expect(texts.length).toBeGreaterThan(500)
    expect(texts.filter((text) => !shown.includes(text))).toEqual([])
  })

  it('shows a sponsor only what its key may call', async () => {
    const { body } = await app.request<string>('GET', '/docs?audience=sponsor', { as: null })
    expect(body).toContain('<title>sponsor-vouchers API for sponsors</title>')
    expect(body).toContain('id="createPurchase"')
    expect(body).not.toContain('id="refundPurchase"')
  })

  it('has a page beside it that sends requests, without a prefilled Idempotency-Key', async () => {
    const page = await app.request<string>('GET', '/docs/try', { as: null })
    expect(page).toMatchObject({ status: 200, headers: { 'content-type': /^text\/html/ } })
    expect(page.body).toContain('<title>Try the sponsor-vouchers API</title>')
    const policy = String(page.headers['content-security-policy'])
    expect(policy).toContain("default-src 'self'")
    expect(policy).not.toMatch(/https?:/)
    const sources = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, source]) => source)
    expect(sources.length).toBeGreaterThan(3)
    for (const source of sources) {
      expect(source).toMatch(/^\/docs\/try\//)
      const part = await app.request('GET', source ?? '', { as: null })
      expect(part.status, source).toBe(200)
    }
    const specification = await app.request<ApiDocument>('GET', '/docs/try/json', { as: null })
    expect(specification).toMatchObject({ status: 200, body: { openapi: '3.1.1' } })
    const { IdempotencyKey } = specification.body.components.parameters
    expect(JSON.stringify(IdempotencyKey)).not.toMatch(/"(example|examples|default)"/)
  })
})
