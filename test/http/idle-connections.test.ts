import { once } from 'node:events'
import type { Server } from 'node:http'
import { connect } from 'node:net'
import { expect, it } from 'vitest'
import { startTestProcess } from '../support/test-app.ts'
import { useTestDatabase } from '../support/test-database.ts'

const database = useTestDatabase()

/** Node itself would wait an hour for each connection, which is longer than a test may take. */
function waitForClients(server: Server): void {
  server.headersTimeout = 3_600_000
  server.requestTimeout = 3_600_000
  server.keepAliveTimeout = 3_600_000
}

it('stops although a client has opened a connection without a request', async () => {
  const service = await startTestProcess(database.connectionString)
  waitForClients(service.app.server)
  const { port } = new URL(await service.app.listen({ port: 0, host: '127.0.0.1' }))
  const accepted = once(service.app.server, 'connection')
  const client = connect(Number(port), '127.0.0.1')
  const ended = once(client, 'close')
  await accepted
  expect((await fetch(`http://127.0.0.1:${port}/livez`)).status).toBe(200)
  await service.close()
  await ended
  expect(client.destroyed).toBe(true)
})

it('stops although a recent response keeps a connection open', async () => {
  const service = await startTestProcess(database.connectionString)
  waitForClients(service.app.server)
  const { app } = service
  const { port } = new URL(await app.listen({ port: 0, host: '127.0.0.1' }))
  const asked = once(app.server, 'request')
  const answer = fetch(`http://127.0.0.1:${port}/readyz`)
  await asked
  await service.close()
  const { headers } = await answer
  expect(headers.get('connection')).toBe('keep-alive')
})
