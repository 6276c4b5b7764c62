import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import type { Operation } from '../src/api/operations.ts'
import { COMMANDS } from '../src/control/control-commands.ts'
import { ALL_RESOURCES } from '../src/kinds/all-kinds.ts'
import { startFake } from './fake-under-test.ts'

const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')

/** The text between `<!-- name -->` and `<!-- /name -->`. */
function part(name: string): string {
  const match = new RegExp(`<!-- ${name} -->\n([\\s\\S]*?)<!-- /${name} -->`).exec(readme)
  if (match?.[1] === undefined) throw new Error(`README.md has no part ${name}`)
  return match[1]
}

const COLUMNS = ['create', 'retrieve', 'update', 'delete', 'list', 'search'] as const

type Entry = { path: string; column: (typeof COLUMNS)[number] } | { path: string; other: string }

function classify({ method, path, list }: Operation): Entry {
  const action = /^(.+)\/:id(\/[a-z_]+)$/.exec(path)
  if (action !== null) return { path: action[1] ?? '', other: `\`${method} /:id${action[2]}\`` }
  if (path.endsWith('/search')) return { path: path.slice(0, -'/search'.length), column: 'search' }
  if (!path.endsWith('/:id'))
    return { path, column: method === 'POST' ? 'create' : list ? 'list' : 'retrieve' }
  const columns = { GET: 'retrieve', POST: 'update', DELETE: 'delete' } as const
  return { path: path.slice(0, -'/:id'.length), column: columns[method] }
}

function coverageTable(): string {
  const rows = new Map<string, { columns: Set<string>; others: string[] }>()
  for (const entry of ALL_RESOURCES.flatMap(({ operations }) => operations.map(classify))) {
    const row = rows.get(entry.path) ?? { columns: new Set(), others: [] }
    rows.set(entry.path, row)
    if ('column' in entry) row.columns.add(entry.column)
    else row.others.push(entry.other)
  }
  const lines = [...rows]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, { columns, others }]) => {
      const marks = COLUMNS.map((column) => (columns.has(column) ? '✓' : ''))
      return `| \`${path}\` | ${[...marks, others.join(', ')].join(' | ')} |`
    })
  const head = `| path | ${[...COLUMNS, 'more'].join(' | ')} |`
  return `${[head, `|${'---|'.repeat(COLUMNS.length + 2)}`, ...lines].join('\n')}\n`
}

it('lists exactly the endpoints that exist', () => {
  expect(part('coverage')).toBe(coverageTable())
})

it('lists exactly the commands that exist', () => {
  const listed = part('commands')
    .split('\n')
    .flatMap((line) => [...(line.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)])
    .map((match) => match[1] ?? '')
  expect(listed.toSorted()).toEqual([...COMMANDS.keys()].toSorted())
})

it('lists only endpoints as missing that answer 404', async () => {
  const { fake, secretKey } = await startFake()
  const missing = [...part('missing').matchAll(/`(?:(POST) )?(\/v[12]\/[^`]+)`/g)]
  expect(missing.length).toBeGreaterThan(20)
  for (const [, method = 'GET', path = ''] of missing) {
    const response = await fetch(`${fake.url}${path.replace(':id', 'x_1')}`, {
      method,
      headers: { authorization: `Bearer ${secretKey}` },
    })
    const body = (await response.json()) as { error?: { message?: string } }
    expect({ path, status: response.status, message: body.error?.message }).toEqual({
      path,
      status: 404,
      message: expect.stringContaining('fake-stripe does not implement this request'),
    })
  }
})
