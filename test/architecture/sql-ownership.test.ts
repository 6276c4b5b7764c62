import { expect, it } from 'vitest'
import { readSourceTree } from './source-tree.ts'
import { foreignSql, OWNERS } from './sql-ownership.ts'

it('names a table in SQL only in the folder that owns it', async () => {
  expect(foreignSql(await readSourceTree('src'))).toEqual([])
})

it('knows the owner of every table that a migration creates', async () => {
  const migrations = [...(await readSourceTree('migrations')).values()].join('\n')
  const created = [
    ...migrations.matchAll(/\bcreate (?:unlogged )?table (?:if not exists )?(\w+)\b/g),
  ]
  const unowned = created.map(([, table = '']) => table).filter((table) => !(table in OWNERS))
  expect(unowned).toEqual([])
})

it.each([
  `trx('bulk_purchases').where({ id })`,
  `trx('bulk_purchases as p')`,
  `db<Row>('bulk_purchases')`,
  `query.join('bulk_purchases as p', 'p.id', 'v.purchase_id')`,
  'trx.raw(`select 1 from bulk_purchases`)',
  `trx.raw('update bulk_purchases set status = 1')`,
  'trx.raw(`insert into\n  bulk_purchases (id) values (?)`)',
  'trx.raw(`with x as (select 1) select * from x join bulk_purchases p on true`)',
])('finds foreign SQL in %s', (text) => {
  expect(foreignSql(new Map([['src/jobs/probe.ts', text]]))).toEqual([
    { file: 'src/jobs/probe.ts', table: 'bulk_purchases' },
  ])
  expect(foreignSql(new Map([['src/purchases/probe.ts', text]]))).toEqual([])
})

it.each([
  `// select 1 from bulk_purchases`,
  `export const description = 'Money that sponsors get back from bulk_purchases'`,
  `type('bulk_purchases')`,
])('finds none in %s', (text) => {
  expect(foreignSql(new Map([['src/jobs/probe.ts', text]]))).toEqual([])
})
