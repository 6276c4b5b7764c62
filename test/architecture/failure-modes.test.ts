import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const ROW = /^\| ([DEF]\d+) \| [^|]+ \| ([^|]+) \|$/gm

let rows: { id: string; proof: string }[] = []
let tested = ''

beforeAll(async () => {
  const page = await readFile(join(ROOT, 'docs/failure-modes.md'), 'utf8')
  rows = [...page.matchAll(ROW)].map(([, id = '', proof = '']) => ({ id, proof: proof.trim() }))
  const files = await readdir(join(ROOT, 'test'), { recursive: true })
  const tests = files.filter((file) => file.endsWith('.test.ts') && !file.includes('failure-modes'))
  const texts = await Promise.all(tests.map((file) => readFile(join(ROOT, 'test', file), 'utf8')))
  tested = texts.join('\n')
})

describe('the page of failure modes', () => {
  it('lists each failure once and in order', () => {
    const ids = rows.map(({ id }) => id)
    expect(ids).toEqual([
      ...Array.from({ length: 35 }, (_, i) => `D${i + 1}`),
      ...Array.from({ length: 21 }, (_, i) => `E${i + 1}`),
      ...Array.from({ length: 20 }, (_, i) => `F${i + 1}`),
    ])
  })

  it('claims tests for exactly those failures that a test names', () => {
    for (const { id, proof } of rows) {
      const isNamed = new RegExp(`\\b${id}\\b`).test(tested)
      expect({ id, isNamed }).toEqual({ id, isNamed: proof.startsWith('tests') })
    }
  })
})
