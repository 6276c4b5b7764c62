import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Db, Tx } from '../db/connect.ts'
import { deleteInBatches } from '../db/delete-in-batches.ts'
import type { IdempotencyRunner, ResumableSteps } from '../db/idempotency-runner.ts'
import type { LivenessLock } from '../db/liveness-lock.ts'
import { isUniqueViolation } from '../db/pg-errors.ts'
import type { SealedTable } from '../db/sealed-values.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { Encryption } from '../shared/cryptography.ts'
import { sha256 } from '../shared/cryptography.ts'
import { AppError, invalidField, isFinalRefusal } from '../shared/errors.ts'
import { principalOf } from './access-control.ts'
import { inCallerScope } from './caller-scope.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The answer is the stored one of an earlier request with the same Idempotency-Key. */
    isReplay: boolean
  }
}

/** Adds `Idempotent-Replayed: true` to stored answers, as Stripe does. */
export function addReplayHeader(app: FastifyInstance): void {
  app.decorateRequest('isReplay', false)
  app.addHook('onSend', async (request, reply) => {
    if (request.isReplay) void reply.header('idempotent-replayed', 'true')
  })
}

/** Runs writes so that a repeat with the same `Idempotency-Key` does not write twice. */
export type Idempotency = {
  /**
   * For a write that is one transaction. Runs `work` in the caller's tenant scope and stores its
   * response in the same commit; a repeat gets the stored response.
   */
  run<T>(request: FastifyRequest, work: (trx: Tx) => Promise<T>): Promise<T>
  /**
   * For a write that also calls Stripe. `begin` creates the resource of the request (an attempt, a
   * refund request) and returns its id. `finish` does the rest and needs only that id. A repeat after
   * a crash finds the id and runs only `finish`.
   */
  resume<T>(request: FastifyRequest, steps: ResumableSteps<T>): Promise<T>
}

type Key = { caller: string; key: string; fingerprint: string; conferenceId: string | null }

type Row = {
  fingerprint: string
  resource: string | null
  owner: number | null
  answer_sealed: string | null
}

/** How long a key is kept. */
const KEY_LIFETIME_SECONDS = 86_400

/** What is authenticated with a stored answer. */
const answerContext = ({ caller, key }: Pick<Key, 'caller' | 'key'>) =>
  `idempotency_keys:${caller}:${key}`

/** The stored answers. They are deleted after a day anyway. */
export const SEALED_ANSWERS: SealedTable = {
  table: 'idempotency_keys',
  keys: ['caller', 'key'],
  contexts: {
    answer_sealed: ({ caller = '', key = '' }) => answerContext({ caller, key }),
  },
}

/** @param deps.livenessLock tells whether the process that runs a request is still alive. */
export function createIdempotency(deps: {
  db: Db
  encryption: Encryption
  livenessLock: LivenessLock
}): Idempotency {
  const { db, encryption, livenessLock } = deps
  const running = new Set<string>()

  const inScope = <T>(request: FastifyRequest, work: (trx: Tx) => Promise<T>) =>
    inCallerScope(db, request, work)

  const seal = (key: Key, answer: unknown) =>
    encryption.encrypt(JSON.stringify(answer ?? null), answerContext(key))
  const open = <T>(key: Key, sealed: string): T =>
    // The stored value is what `run` or `resume` returned for the same fingerprint.
    JSON.parse(encryption.decrypt(sealed, answerContext(key))) as T

  async function lockAndFind(trx: Tx, key: Key): Promise<Row | undefined> {
    const { rows } = await trx.raw<{ rows: { locked: boolean }[] }>(
      'select pg_try_advisory_xact_lock(hashtextextended(?, 0)) as locked',
      [answerContext(key)],
    )
    if (rows[0]?.locked !== true) throw stillRunning()
    await trx('idempotency_keys')
      .where({ caller: key.caller, key: key.key })
      .whereRaw(`created_at < now() - make_interval(secs => ?)`, [KEY_LIFETIME_SECONDS])
      .delete()
    const row = await trx<Row & { caller: string; key: string }>('idempotency_keys')
      .where({ caller: key.caller, key: key.key })
      .first('fingerprint', 'resource', 'owner', 'answer_sealed')
    if (row !== undefined && row.fingerprint !== key.fingerprint) {
      throw keyReused()
    }
    return row
  }

  async function insert(trx: Tx, key: Key, more: Partial<Row>): Promise<void> {
    try {
      await trx('idempotency_keys').insert({
        conference_id: key.conferenceId,
        caller: key.caller,
        key: key.key,
        fingerprint: key.fingerprint,
        ...more,
      })
    } catch (error) {
      // An operator may use one key in two conferences. Row security hides the row of the other
      // conference from this transaction.
      throw isUniqueViolation(error, 'idempotency_keys_pkey') ? keyReused() : error
    }
  }

  /** Claims the key for this request. Returns the stored response, or the resource to finish. */
  async function take<T>(
    trx: Tx,
    key: Key,
    begin: (trx: Tx) => Promise<string>,
  ): Promise<{ answer: T } | { resource: string; isRepeat: boolean }> {
    const row = await lockAndFind(trx, key)
    if (row === undefined) {
      const resource = await begin(trx)
      await insert(trx, key, { resource, owner: livenessLock.owner })
      return { resource, isRepeat: false }
    }
    if (row.answer_sealed !== null) return { answer: open<T>(key, row.answer_sealed) }
    const isOurs = row.owner === livenessLock.owner
    if (isOurs && running.has(answerContext(key))) throw stillRunning()
    if (row.owner !== null && !isOurs && (await livenessLock.isAlive(trx, row.owner))) {
      throw stillRunning()
    }
    await trx('idempotency_keys')
      .where({ caller: key.caller, key: key.key })
      .update({ owner: livenessLock.owner })
    return { resource: row.resource ?? '', isRepeat: true }
  }

  async function close<T>(request: FastifyRequest, key: Key, finish: () => Promise<T>): Promise<T> {
    const row = (trx: Tx) => trx('idempotency_keys').where({ caller: key.caller, key: key.key })
    try {
      const answer = await finish()
      await inScope(request, (trx) =>
        row(trx).update({ answer_sealed: seal(key, answer), owner: null }),
      )
      return answer
    } catch (error) {
      // A refusal changed nothing, so the key is released and a repeat starts again. After an unknown
      // outcome the row stays, and a repeat resumes its resource. `afterWrite` keeps a failed fetch after
      // a write from being taken for a refusal.
      await inScope(request, (trx) =>
        isFinalRefusal(error) ? row(trx).delete() : row(trx).update({ owner: null }),
      )
      throw error
    }
  }

  return {
    run(request, work) {
      const key = keyOf(request)
      return inScope(request, async (trx) => {
        if (key === null) return work(trx)
        const row = await lockAndFind(trx, key)
        if (row?.answer_sealed) {
          request.isReplay = true
          return open(key, row.answer_sealed)
        }
        const answer = await work(trx)
        await insert(trx, key, { answer_sealed: seal(key, answer) })
        return answer
      })
    },

    async resume<T>(request: FastifyRequest, steps: ResumableSteps<T>): Promise<T> {
      const key = keyOf(request)
      if (key === null) return steps.finish(await inScope(request, steps.begin), false)
      const taken = await inScope(request, (trx) => take<T>(trx, key, steps.begin))
      if ('answer' in taken) {
        request.isReplay = true
        return taken.answer
      }
      running.add(answerContext(key))
      try {
        return await close(request, key, () => steps.finish(taken.resource, taken.isRepeat))
      } finally {
        running.delete(answerContext(key))
      }
    },
  }
}

function keyOf(request: FastifyRequest): Key | null {
  const key = request.headers['idempotency-key']
  if (key === undefined) return null
  if (typeof key !== 'string' || !/^[\x20-\x7e]{1,255}$/.test(key)) {
    throw invalidField('header/idempotency-key', 'must be 1 to 255 printable ASCII characters')
  }
  const body =
    request.body === undefined || request.body === null ? '' : JSON.stringify(request.body)
  return {
    caller: principalOf(request).id,
    key,
    fingerprint: sha256(`${request.method} ${request.url}\n${body}`),
    conferenceId: request.conferenceId,
  }
}

const ANSWERS_PAGE = 500

/**
 * Changes the stored answers of a conference, in short transactions. A key that would change itself is
 * deleted with its answer.
 *
 * @returns the number of changed rows.
 */
export async function redactStoredAnswers(
  { db, encryption }: { db: Db; encryption: Encryption },
  conferenceId: string,
  redact: (value: unknown) => unknown,
): Promise<number> {
  let changed = 0
  let after: { caller: string; key: string } | null = { caller: '', key: '' }
  while (after !== null) {
    const from: { caller: string; key: string } = after
    after = await withTenant(db, { conferenceId }, async (trx) => {
      const rows = await trx('idempotency_keys')
        .where({ conference_id: conferenceId })
        .whereRaw('(caller, key) > (?, ?)', [from.caller, from.key])
        .orderBy(['caller', 'key'])
        .limit(ANSWERS_PAGE)
        .forUpdate()
        .select<{ caller: string; key: string; answer_sealed: string | null }[]>(
          'caller',
          'key',
          'answer_sealed',
        )
      for (const { caller, key, answer_sealed: sealed } of rows) {
        const row = () => trx('idempotency_keys').where({ caller, key })
        const context = answerContext({ caller, key })
        const text = sealed === null ? null : encryption.decrypt(sealed, context)
        const redacted = text === null ? null : JSON.stringify(redact(JSON.parse(text)))
        const isOtherKey = redact(key) !== key
        if (isOtherKey) await row().delete()
        else if (redacted !== null && redacted !== text)
          await row().update({ answer_sealed: encryption.encrypt(redacted, context) })
        if (isOtherKey || redacted !== text) changed += 1
      }
      return rows.length < ANSWERS_PAGE ? null : (rows.at(-1) ?? null)
    })
  }
  return changed
}

/** Deletes keys that are no longer honoured. @returns their number. */
export function deleteExpiredKeys(db: Db): Promise<number> {
  const condition = `created_at < now() - make_interval(secs => ${KEY_LIFETIME_SECONDS})`
  return deleteInBatches(db, 'idempotency_keys', condition)
}

function keyReused(): AppError {
  return new AppError(
    'idempotency_key_reused',
    'This Idempotency-Key was used for a request with a different path or body. Use a new key.',
  )
}

function stillRunning(): AppError {
  return new AppError(
    'idempotency_in_progress',
    'The first request with this Idempotency-Key is still running. Retry in a second.',
    {
      retryAfterSeconds: 1,
    },
  )
}

/** The runner that a use case gets for one request. */
export function idempotencyRunner(
  idempotency: Idempotency,
  request: FastifyRequest,
): IdempotencyRunner {
  return {
    run: (work) => idempotency.run(request, work),
    resume: (steps) => idempotency.resume(request, steps),
  }
}
