import fastify from 'fastify'
import { expect, inject, it } from 'vitest'
import { connect, type Tx } from '../../src/db/connect.ts'
import { addProblemHandlers } from '../../src/http/problem.ts'
import { createConference } from '../support/fixtures.ts'
import { startTestProcess, useTestApp } from '../support/test-app.ts'
import { withAdminClient } from '../support/test-connections.ts'

const app = useTestApp()

const unavailable = {
  status: 503,
  body: { code: 'database_unavailable', status: 503 },
  headers: { 'retry-after': expect.stringMatching(/^[1-9]/) },
}

const POLL_OPTIONS = { timeout: 60_000 }

it('answers 503 without a database', async () => {
  const lonely = await startTestProcess('postgres://nobody@127.0.0.1:1/nothing')
  try {
    expect(await lonely.request('GET', '/v1/conferences')).toMatchObject(unavailable)
    const body = { slug: 'x', name: 'x', currency: 'EUR' }
    expect(await lonely.request('POST', '/v1/conferences', { body })).toMatchObject(unavailable)
    expect(await lonely.request('GET', '/v1/nothing')).toMatchObject({ status: 404 })
  } finally {
    await lonely.close()
  }
})

it('asks for a repetition when Postgres has ended a transaction because two waited for each other', async () => {
  const server = fastify()
  addProblemHandlers(server, null)
  server.get('/', () => waitForEachOther(app.connectionString))
  const answer = await server.inject('/')
  await server.close()
  expect({ status: answer.statusCode, body: answer.json(), headers: answer.headers }).toMatchObject(
    unavailable,
  )
})

/** Two transactions lock the same advisory locks in different orders. */
async function waitForEachOther(connectionString: string): Promise<void> {
  const db = connect(connectionString)
  const lock = (trx: Tx, number: number) =>
    trx.raw('select pg_advisory_xact_lock(hashtext(?), ?)', ['deadlock', number])
  const lockAndEnd = async (trx: Tx, number: number) => {
    try {
      await lock(trx, number)
    } finally {
      await trx.rollback()
    }
  }
  try {
    const [first, second] = [await db.transaction(), await db.transaction()]
    await lock(first, 1)
    await lock(second, 2)
    await Promise.all([lockAndEnd(first, 2), lockAndEnd(second, 1)])
  } finally {
    await db.destroy()
  }
}

it('recovers when the database is available again', async () => {
  const { path } = await createConference(app)
  const get = async () => (await app.request('GET', path)).status
  const [{ name } = { name: '' }] = await app.rows<{ name: string }>(
    'select current_database() as name',
  )
  // For a client, this looks like a server that stops and is down for a while.
  // The limit also applies to an administrator who is not a superuser, so connect to another database.
  const asAdmin = (sql: string) =>
    withAdminClient(inject('testRun').adminConnectionString, (client) => client.query(sql))
  const limit = (connections: number) =>
    asAdmin(`alter database ${name} connection limit ${connections}`)
  const kill = () =>
    asAdmin(`select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`)
  expect(await get()).toBe(200)
  await limit(0)
  await kill()
  await expect.poll(() => app.request('GET', path), POLL_OPTIONS).toMatchObject(unavailable)
  expect(await app.request('GET', path)).toMatchObject(unavailable)
  await limit(-1)
  await expect.poll(get, POLL_OPTIONS).toBe(200)
})
