import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { errorsAsMarkdown } from '../../src/http/error-page.ts'
import { ERROR_CATALOGUE } from '../../src/shared/errors.ts'
import { useTestApp } from '../support/test-app.ts'

const PUBLIC_URL = 'https://vouchers.example.org/'
const app = useTestApp({ env: { PUBLIC_URL } })

describe('the type of a problem document', () => {
  it('leads to the entry of its code on the page of errors', async () => {
    const { body } = await app.request('GET', '/v1/nothing')
    expect(body['type']).toBe('https://vouchers.example.org/docs/errors#not_found')
    const { pathname, hash } = new URL(String(body['type']))
    const page = await app.request<string>('GET', pathname, { as: null })
    expect(page).toMatchObject({
      status: 200,
      headers: {
        'content-type': 'text/html; charset=utf-8',
        'content-security-policy': expect.stringContaining("default-src 'none'"),
      },
    })
    expect(page.body).toContain(`id="${hash.slice(1)}"`)
  })
})

describe('the page of errors', () => {
  it('explains every code and what the caller can do', async () => {
    const { body } = await app.request<string>('GET', '/docs/errors', { as: null })
    for (const [code, { help }] of Object.entries(ERROR_CATALOGUE)) {
      expect(body).toContain(`<dt id="${code}">`)
      expect(help).toMatch(/^[A-Z].+\.$/)
    }
    expect(body).not.toMatch(/undefined|`/)
  })

  it('is in the docs too', async () => {
    const file = new URL('../../docs/errors.md', import.meta.url)
    expect(await readFile(file, 'utf8')).toBe(errorsAsMarkdown())
  })
})
