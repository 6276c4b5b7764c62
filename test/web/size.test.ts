import { readFile, stat } from 'node:fs/promises'
import { expect, it } from 'vitest'

const BUILT = new URL('../../dist/web/', import.meta.url)

/** Bytes. Every script that a page loads before it shows anything, compressed with gzip. */
async function firstLoad(page: string): Promise<number> {
  const html = await readFile(new URL(`${page}.html`, BUILT), 'utf8')
  const scripts = [...html.matchAll(/(?:src|href)="\/(assets\/[^"]+\.js)"/g)]
  expect(scripts.length).toBeGreaterThan(0)
  const sizes = scripts.map(
    async ([, path = '']) => (await stat(new URL(`${path}.gz`, BUILT))).size,
  )
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}

it.each(['portal', 'console', 'sign-in'])(
  'the first page of /%s needs less than 150 kB of script',
  async (page) => {
    expect(await firstLoad(page)).toBeLessThan(150_000)
  },
)
