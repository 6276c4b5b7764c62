import { readdir, readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import lastRelease from '../support/last-release.json' with { type: 'json' }
import { upgradeRisks } from './upgrade-rules.ts'

const FOLDER = new URL('../../migrations/', import.meta.url)

const migration = (sql: string, comment = '') =>
  `${comment}\nexport async function up(knex: Knex) { await knex.raw(\`${sql}\`) }\nexport async function down(knex: Knex) { await knex.raw('drop table vouchers') }`

describe('an upgrade while the last release runs', () => {
  it('meets no migration that breaks it or makes it wait', async () => {
    const files = (await readdir(FOLDER)).filter((name) => name.slice(0, 4) > lastRelease.migration)
    const risks: unknown[] = []
    for (const file of files.filter((name) => /^\d{4}_/.test(name))) {
      const text = await readFile(new URL(file, FOLDER), 'utf8')
      for (const risk of upgradeRisks(text)) risks.push({ file, ...risk })
    }
    // docs/operations.md, "Upgrade". A comment "Upgrade: …" in the migration says why it is right nevertheless.
    expect(risks).toEqual([])
  })
})

describe('the rules for migrations', () => {
  it.each([
    ['a table', 'drop table vouchers'],
    ['a column', 'alter table vouchers drop column code'],
    ['a new name', 'alter table vouchers rename column code to text'],
    ['a new name of the table', 'alter table vouchers rename to codes'],
    ['a column that must be given', 'alter table vouchers add column note text not null'],
    [
      'a column that must be given from now on',
      'alter table vouchers alter column note set not null',
    ],
    ['another type', 'alter table vouchers alter column uses type bigint'],
    ['a checked constraint', 'alter table vouchers add constraint uses_known check (uses > 0)'],
    ['a foreign key', 'alter table vouchers add foreign key (batch) references voucher_batches'],
    ['an index', 'create index vouchers_by_note on vouchers (note)'],
    [
      'rows that change under the lock',
      'alter table vouchers add note text; update vouchers set note = code',
    ],
  ])('refuse %s', (_what, sql) => {
    expect(upgradeRisks(migration(sql))).toHaveLength(1)
    expect(upgradeRisks(migration(sql, '// Upgrade: the last release never had it.'))).toEqual([])
  })

  it.each([
    [
      'a new table with all that belongs to it',
      'create table x (id text not null); create index x_id on x (id); alter table x add constraint y check (id > 0); update x set id = 1',
    ],
    ['a column that may be null', 'alter table vouchers add column note text'],
    ['a column with a default', `alter table vouchers add column note text not null default ''`],
    [
      'two columns with defaults',
      `alter table vouchers add column a int not null default 0, add column b int not null default 0`,
    ],
    [
      'a constraint that is validated later',
      'alter table vouchers add constraint z check (uses > 0) not valid',
    ],
    [
      'an index that is built while others write',
      'create index concurrently vouchers_by_note on vouchers (note)',
    ],
    ['rows of a table that is not locked', 'update vouchers set note = code'],
  ])('allow %s', (_what, sql) => {
    expect(upgradeRisks(migration(sql))).toEqual([])
  })
})
