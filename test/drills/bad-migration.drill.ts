import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { builtProgram } from '../support/built-programs.ts'
import { startServiceProcess, useServiceProcesses } from '../support/service-process.ts'
import { openShop, useFakeStripe } from '../support/shop.ts'
import { adminQuery } from '../support/test-connections.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { makeScratchFolder } from '../support/test-servers.ts'
import { say } from './support/say.ts'

useServiceProcesses()
const database = useTestDatabase()
const stripe = useFakeStripe()

/** A release that differs from this one by one more migration. */
async function makeRelease(migration: string) {
  const folder = await makeScratchFolder()
  // …/src/main.js
  await cp(dirname(dirname(builtProgram('src/main.ts'))), folder, { recursive: true })
  // The bundle leaves some packages out, and looks for its version.
  for (const name of ['node_modules', 'package.json']) {
    await symlink(fileURLToPath(new URL(`../../${name}`, import.meta.url)), join(folder, name))
  }
  await writeFile(join(folder, 'migrations', '9999_next_release.js'), migration)
  return {
    async run(...args: string[]) {
      const child = spawn(
        process.execPath,
        [join(folder, 'src/cli/sponsor-vouchers.js'), ...args],
        {
          env: { PATH: process.env['PATH'], DATABASE_URL: database.connectionString },
        },
      )
      let text = ''
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (part: string) => (text += part))
      }
      const [code] = (await once(child, 'close')) as [number | null]
      return { code, text: text.trim() }
    },
  }
}

const HALF = `
export async function up(knex) {
  await knex.raw('create table seating_plans (id text primary key)')
  await knex.raw('alter table bulk_purchases drop column a_column_that_does_not_exist')
}
export async function down(knex) { await knex.raw('drop table seating_plans') }
`

const WRONG = `
export async function up(knex) {
  await knex.raw('alter table bulk_purchases add constraint seats check (quantity < 5) not valid')
}
export async function down(knex) { await knex.raw('alter table bulk_purchases drop constraint seats') }
`

it('a bad migration is rolled back, and the running release goes on selling', async () => {
  const service = await startServiceProcess({
    DATABASE_URL: database.connectionString,
    STRIPE_API_BASE: stripe.fake.url,
  })
  await service.ready()
  const shop = await openShop(service)
  const buy = async () => {
    const body = { ticket_type: shop.ticketType, quantity: 10 }
    return (await service.request('POST', `${shop.path}/purchases`, { as: shop.sponsorKey, body }))
      .status
  }
  const relations = async () => {
    const [row] = await adminQuery<{ count: number }>(
      database.adminConnectionString,
      `select ((select count(*) from pg_class where relname = 'seating_plans')
         + (select count(*) from pg_constraint where conname = 'seats'))::int as count`,
    )
    return row?.count
  }
  say(`a purchase: ${await buy()}`)

  const half = await makeRelease(HALF)
  const failed = await half.run('migrate')
  say(`migrate of the next release: exit code ${failed.code}, ${failed.text.split(' - ').at(-1)}`)
  expect(failed.code).toBe(1)
  expect(failed.text).toContain('a_column_that_does_not_exist')
  expect(await relations()).toBe(0)
  expect(await buy()).toBe(201)
  say('nothing of it is left; a purchase: 201')

  const wrong = await makeRelease(WRONG)
  expect((await wrong.run('migrate')).code).toBe(0)
  expect(await relations()).toBe(1)
  const broken = await buy()
  say(`another migration succeeds, but the running release cannot sell: ${broken}`)
  expect(broken).toBe(500)
  const back = await wrong.run('migrate', '--back')
  say(`migrate --back: exit code ${back.code}, ${back.text}`)
  expect(back).toEqual({ code: 0, text: 'undone: 9999_next_release' })
  expect(await relations()).toBe(0)
  const after = await buy()
  say(`a purchase without a restart: ${after}`)
  expect(after).toBe(201)
  expect((await service.request('GET', '/readyz')).status).toBe(200)
})
