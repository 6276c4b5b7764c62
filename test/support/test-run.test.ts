import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { withLogin } from './test-connections.ts'
import { type OpenTestRun, openTestRun } from './test-run.ts'

const { adminConnectionString, name: thisRun, template } = inject('testRun')
const admin = new pg.Client({ connectionString: adminConnectionString })

beforeAll(() => admin.connect())
afterAll(() => admin.end())

async function exists(name: string): Promise<{ database: boolean; role: boolean }> {
  const { rows } = await admin.query<{ database: boolean; role: boolean }>(
    `select exists (select from pg_database where starts_with(datname, $1 || '_')) as database,
            exists (select from pg_roles where rolname = $1) as role`,
    [name],
  )
  return rows[0] ?? { database: false, role: false }
}

describe('a test run', () => {
  it('drops what a killed run left, and nothing of a living one', async () => {
    await admin.query('create role sv_test_deadbeef')
    await admin.query('create database sv_test_deadbeef_1 owner sv_test_deadbeef')
    const run = await openTestRun(adminConnectionString)
    try {
      expect(await exists('sv_test_deadbeef')).toEqual({ database: false, role: false })
      expect(await exists(thisRun)).toEqual({ database: true, role: true })
    } finally {
      await run.close()
    }
    expect(await exists(run.details.name)).toEqual({ database: false, role: false })
  })

  it('keeps everybody out of the template, so that it can be cloned at any time', async () => {
    const connectionString = withLogin(adminConnectionString, { database: template })
    const client = new pg.Client({ connectionString })
    await expect(client.connect()).rejects.toThrow('not currently accepting connections')
  })

  it('needs no superuser, only an administrator of databases and roles', async () => {
    const [user, password] = [`${thisRun}_admin`, 'only-for-this-test']
    await admin.query(
      `create role ${user} login createdb createrole bypassrls password '${password}'`,
    )
    let run: OpenTestRun | undefined
    try {
      run = await openTestRun(withLogin(adminConnectionString, { user, password }))
      const database = `${run.details.name}_clone`
      const client = new pg.Client({ connectionString: run.details.adminConnectionString })
      await client.connect()
      await client.query(
        `create database ${database} owner ${run.details.name}
         template ${run.details.template} strategy file_copy`,
      )
      await client.end()
      expect(await exists(run.details.name)).toEqual({ database: true, role: true })
    } finally {
      await run?.close()
      await admin.query(`drop role ${user}`)
    }
    expect(await exists(run.details.name)).toEqual({ database: false, role: false })
  })

  it('refuses a server on which it may not make databases', async () => {
    const { password } = inject('testRun')
    const url = withLogin(adminConnectionString, { user: thisRun, password })
    await expect(openTestRun(url)).rejects.toThrow('CREATEDB')
  })
})
