import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type Tx } from '../../src/db/connect.ts'
import { holdLivenessLock, type LivenessLock } from '../../src/db/liveness-lock.ts'
import { createIdempotency } from '../../src/http/idempotency.ts'
import { createEncryption } from '../../src/shared/cryptography.ts'
import { AppError, afterWrite } from '../../src/shared/errors.ts'
import { unique } from '../support/fixtures.ts'
import { OPERATOR_KEY, startTestProcess, TEST_ENCRYPTION_KEY } from '../support/test-app.ts'
import { directUrl } from '../support/test-connections.ts'
import { useTestDatabase } from '../support/test-database.ts'

const database = useTestDatabase()

type Finish = (resource: string) => Promise<{ resource: string }>

/** A process with a route in two steps, which a test can observe and break. */
type Worker = {
  livenessLock: LivenessLock
  begun: string[]
  finish: Finish
  post(key: string): Promise<{ status: number; body: unknown }>
  /** Whether this process considers the other one alive. */
  sees(other: Worker): Promise<boolean>
  close(): Promise<void>
}

async function begin(trx: Tx, worker: Worker): Promise<string> {
  const name = unique('thing')
  await trx('things').insert({ name })
  worker.begun.push(name)
  return name
}

async function startWorker(): Promise<Worker> {
  const serving = await startTestProcess(database.connectionString)
  const { app, db } = serving
  const livenessLock = holdLivenessLock(directUrl(database.connectionString), () => {})
  const encryption = createEncryption(TEST_ENCRYPTION_KEY)
  const answers = createIdempotency({ db, encryption, livenessLock })
  const worker: Worker = {
    livenessLock,
    begun: [],
    finish: async (resource) => ({ resource }),
    async post(key) {
      // Not with the test harness, which knows only the operations of openapi.yaml.
      const headers = { authorization: `Bearer ${OPERATOR_KEY}`, 'idempotency-key': key }
      const answer = await app.inject({ method: 'POST', url: '/things', headers })
      return { status: answer.statusCode, body: answer.json() }
    },
    sees: (other) => db.transaction((trx) => livenessLock.isAlive(trx, other.livenessLock.owner)),
    async close() {
      await livenessLock.close()
      await serving.close()
    },
  }
  app.post('/things', { config: { access: 'operator' }, schema: { hide: true } }, (call) =>
    answers.resume(call, {
      begin: (trx) => begin(trx, worker),
      finish: (resource) => worker.finish(resource),
    }),
  )
  return worker
}

const POLL_OPTIONS = { timeout: 60_000 }

let worker: Worker

beforeAll(async () => {
  const db = connect(database.connectionString)
  await db.raw('create table things (name text primary key)')
  await db.destroy()
  worker = await startWorker()
})

afterAll(() => worker.close())

function deferred() {
  let resolve = () => {}
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve }
}

const answerWith: Finish = async (resource) => ({ resource })
const running = { status: 409, body: { code: 'idempotency_in_progress' } }

describe('a write in two steps', () => {
  it('is done once, and a repeat gets its response', async () => {
    worker.finish = answerWith
    const key = unique('key')
    const first = await worker.post(key)
    expect(first).toEqual({ status: 200, body: { resource: worker.begun.at(-1) } })
    const begun = worker.begun.length
    expect(await worker.post(key)).toEqual(first)
    expect(worker.begun).toHaveLength(begun)
  })

  it('resumes its resource after an unknown outcome', async () => {
    const key = unique('key')
    worker.finish = async () => {
      throw new AppError('stripe_unavailable', 'Stripe did not answer.')
    }
    expect(await worker.post(key)).toMatchObject({ status: 503 })
    const begun = worker.begun.at(-1)
    worker.finish = answerWith
    expect(await worker.post(key)).toEqual({ status: 200, body: { resource: begun } })
    expect(worker.begun.at(-1)).toBe(begun)
  })

  it('starts again after a refusal', async () => {
    const key = unique('key')
    worker.finish = async () => {
      throw new AppError('stripe_refused', 'Stripe said no.')
    }
    expect(await worker.post(key)).toMatchObject({ status: 409 })
    const refused = worker.begun.at(-1)
    worker.finish = answerWith
    const { body } = await worker.post(key)
    expect(body).toEqual({ resource: worker.begun.at(-1) })
    expect(worker.begun.at(-1)).not.toBe(refused)
  })

  it('resumes its resource when a fetch after the write was refused (issue 8, line 6)', async () => {
    const key = unique('key')
    worker.finish = () =>
      afterWrite(async () => {
        throw new AppError('stripe_refused', 'Stripe said no.')
      })
    const answer = await worker.post(key)
    expect(answer).toMatchObject({ status: 502, body: { code: 'stripe_failed' } })
    expect(answer.body).toMatchObject({ detail: expect.stringContaining('Stripe said no.') })
    const begun = worker.begun.at(-1)
    worker.finish = answerWith
    expect(await worker.post(key)).toEqual({ status: 200, body: { resource: begun } })
    expect(worker.begun.at(-1)).toBe(begun)
  })

  it('is 409 while it runs in this process', async () => {
    const key = unique('key')
    const [reached, released] = [deferred(), deferred()]
    worker.finish = async (resource) => {
      reached.resolve()
      await released.promise
      return { resource }
    }
    const first = worker.post(key)
    await reached.promise
    expect(await worker.post(key)).toMatchObject(running)
    released.resolve()
    expect(await first).toMatchObject({ status: 200 })
    expect(await worker.post(key)).toEqual(await first)
  })

  it('is 409 while it runs in another process, and is resumed when that process dies', async () => {
    const key = unique('key')
    const other = await startWorker()
    await expect.poll(() => worker.sees(other), POLL_OPTIONS).toBe(true)
    const reached = deferred()
    // Hangs like a request whose process was killed: it neither answers nor cleans up.
    other.finish = () => {
      reached.resolve()
      return new Promise(() => {})
    }
    void other.post(key)
    await reached.promise
    worker.finish = answerWith
    expect(await worker.post(key)).toMatchObject(running)
    await other.livenessLock.close()
    await expect.poll(() => worker.sees(other), POLL_OPTIONS).toBe(false)
    expect(await worker.post(key)).toEqual({ status: 200, body: { resource: other.begun[0] } })
    await other.close()
  })
})
