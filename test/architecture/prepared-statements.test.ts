import { expect, it } from 'vitest'
import { readSourceTree, withoutComments } from './source-tree.ts'

// A prepared statement that returns all columns of a table fails after a migration added one.
const ALL_COLUMNS = /\breturning\s+\*|['"`]\w+\.\*['"`]|\.returning(?:<[^(]*>)?\(\s*['"`]\*/i
const PREPARES = /\b(?:PREPARED|runInOrder|tenantStatement|systemStatement)\b/

const returnsAll = (text: string) => PREPARES.test(text) && ALL_COLUMNS.test(text)

it('no file with prepared statements returns all columns of a table (decision 16)', async () => {
  const files = [...(await readSourceTree('src'))]
  expect(files.filter(([, text]) => PREPARES.test(text)).length).toBeGreaterThan(10)
  const found = files.filter(([, text]) => returnsAll(withoutComments(text)))
  expect(found.map(([file]) => file)).toEqual([])
})

it.each([
  `runInOrder(trx, [trx('charges').select('charges.*')])`,
  'tenantStatement(db, ref, () => `update sync_runs set state = 1\n returning *, 1 as one`)',
  `trx('payment_attempts').insert(row).returning<Row[]>('*').options(PREPARED)`,
])('would find it in %s', (text) => {
  expect(returnsAll(text)).toBe(true)
})
