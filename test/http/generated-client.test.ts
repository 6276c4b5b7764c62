import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'

const run = promisify(execFile)

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const require = createRequire(import.meta.url)

/** Code of a client that uses the generated types. */
const USE = `
import type { components, operations, paths } from './api.ts'

type Purchase = components['schemas']['Purchase']
export const isPaid = (purchase: Purchase): boolean => purchase.status === 'PAID'

type Create = operations['createPurchase']
export const order: Create['requestBody']['content']['application/json'] = {
  ticket_type: 'tkt_1',
  quantity: 40,
}
// @ts-expect-error -- the quantity is required
export const empty: Create['requestBody']['content']['application/json'] = {}

type Problem = Create['responses']['default']['content']['application/problem+json']
export const isBusy = ({ code }: Problem): boolean => code === 'idempotency_in_progress'
// @ts-expect-error -- this operation does not answer with this code
export const isRunning = ({ code }: Problem): boolean => code === 'sync_running'

type List = paths['/v1/conferences/{conference}/stripe/{resource}']['get']
export const path: List['parameters']['path'] = { conference: 'devconf', resource: 'coupons' }
export const query: NonNullable<List['parameters']['query']> = { valid: true, limit: 10 }
type Row = List['responses'][200]['content']['application/json']['data'][number]
export function discountOf(row: Row): number | null {
  return row.object === 'coupon' && row.deleted_at === null ? row.percent_off : null
}
`

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'generated-client-'))
})
afterAll(() => rm(folder, { recursive: true }))

it('openapi-typescript generates a client from openapi.yaml that compiles in strict mode, also the one of the guide', async () => {
  const hook = new URL('../../scripts/with-typescript-5.mjs', import.meta.url).href
  const generator = join(
    dirname(require.resolve('openapi-typescript/package.json')),
    'bin',
    'cli.js',
  )
  const generated = join(folder, 'api.ts')
  await run(process.execPath, [
    '--import',
    hook,
    generator,
    join(ROOT, 'openapi.yaml'),
    '--output',
    generated,
  ])
  await writeFile(join(folder, 'use.ts'), USE)
  const guide = await readFile(join(ROOT, 'docs/guides/developers.md'), 'utf8')
  const [, client = ''] = /^```ts buy\.ts\n(.*?)^```$/ms.exec(guide) ?? []
  expect(client).toContain('export async function buy')
  await writeFile(join(folder, 'buy.ts'), client)
  const strict = ['--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess']
  const modern = ['--target', 'es2023', '--module', 'nodenext', '--allowImportingTsExtensions']
  const compiler = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc')
  const node = ['--types', 'node', '--typeRoots', join(ROOT, 'node_modules/@types')]
  const options = ['--ignoreConfig', '--noEmit', ...strict, ...modern, ...node]
  const files = ['use.ts', 'buy.ts'].map((name) => join(folder, name))
  const compiled = run(process.execPath, [compiler, ...options, ...files])
  expect(await compiled.catch(({ stdout }: { stdout: string }) => ({ stdout }))).toMatchObject({
    stdout: '',
  })
})
