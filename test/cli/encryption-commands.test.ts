import { randomBytes } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { createEncryption } from '../../src/shared/cryptography.ts'
import { openShop, type Shop } from '../support/shop.ts'
import { TEST_ENCRYPTION_KEY } from '../support/test-app.ts'
import { useCliOnStripe } from './command-line.ts'

const { app, cli } = useCliOnStripe()

const NEW_KEY = randomBytes(32)
const newKey = { ENCRYPTION_KEY: NEW_KEY.toString('base64') }
const oldKey = TEST_ENCRYPTION_KEY.toString('base64')
const bothKeys = { ...newKey, ENCRYPTION_KEY_SECOND: oldKey }

type Count = { table: string } & Record<'current' | 'second' | 'unreadable' | 'rotated', number>
type Counted = { done: boolean; data: Count[] }

/** The answer of a command that may fail. */
async function rotate(env: NodeJS.ProcessEnv, ...options: string[]) {
  const { exitCode, stdout, stderr } = await cli.run(['encryption:rotate', ...options, '--json'], {
    env,
  })
  const counted = stdout === '' ? null : (JSON.parse(stdout) as Counted)
  const sum = (name: 'current' | 'second' | 'unreadable' | 'rotated') =>
    counted?.data.reduce((total, count) => total + count[name], 0)
  return { exitCode, stderr, counted, sum }
}

/** The encrypted columns of the schema. */
const sealedColumns = async () =>
  (
    await app.rows<{ name: string }>(
      `select table_name || '.' || column_name as name from information_schema.columns
       where table_schema = 'public' and column_name like '%\\_sealed' order by 1`,
    )
  ).map(({ name }) => name)

let shop: Shop
beforeAll(async () => {
  shop = await openShop(app)
  // As any start of the service with the old key: it stores the value by which a process knows its key.
  await cli.run(['conferences:list'])
  await app.request('POST', `${shop.path}/webhook-secrets`, {
    body: { secret: `whsec_${'a'.repeat(32)}` },
  })
  const endpoint = await app.request<{ id: string }>('POST', `${shop.path}/webhook-endpoints`, {
    body: { url: 'https://receiver.example/hook' },
  })
  await app.request('POST', `${shop.path}/webhook-endpoints/${endpoint.body.id}/rotate-secret`)
  await app.request('POST', `${shop.path}/sponsors`, {
    headers: { 'idempotency-key': 'rotation-1' },
    body: { name: 'Initech' },
  })
  // An erasure that is not done, and more answers than one batch.
  const encryption = createEncryption(TEST_ENCRYPTION_KEY)
  const terms = encryption.encrypt(
    '{"emails":[],"names":[]}',
    `erasures.terms:${shop.conference}:er_1`,
  )
  await app.rows(
    `insert into erasures (conference_id, id, subject, token, state, requested_by, terms_sealed)
     values ($1, 'er_1', 'person', 'er_1', 'running', 'x', $2)`,
    [shop.conference, terms],
  )
  const answers = Array.from({ length: 450 }, (_, index) => ({
    key: `bulk-${String(index).padStart(3, '0')}`,
    sealed: encryption.encrypt(
      '{}',
      `idempotency_keys:bulk:bulk-${String(index).padStart(3, '0')}`,
    ),
  }))
  await app.rows(
    `insert into idempotency_keys (conference_id, caller, key, fingerprint, answer_sealed)
     select $1, 'bulk', a.key, 'x', a.sealed
     from json_to_recordset($2::json) as a (key text, sealed text)`,
    [shop.conference, JSON.stringify(answers)],
  )
})

describe('the rotation of ENCRYPTION_KEY', () => {
  it('counts what only the second key can read, and changes nothing with --check', async () => {
    const { exitCode, stderr, counted, sum } = await rotate(bothKeys, '--check')
    expect(exitCode).toBe(1)
    expect(stderr).toContain('can only be read with ENCRYPTION_KEY_SECOND')
    expect(counted?.done).toBe(false)
    expect(sum('current')).toBe(0)
    expect(sum('second')).toBeGreaterThan(455)
    expect(sum('rotated')).toBe(0)
  })

  it('needs the old key: otherwise a command does not even start', async () => {
    expect(await rotate(newKey)).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('ENCRYPTION_KEY is not the key'),
    })
  })

  it('encrypts every kind of secret again, without an entry in the audit log', async () => {
    const entries = async () => (await app.rows('select id from audit_log')).length
    const before = await entries()
    const all = (await rotate(bothKeys, '--check')).sum('second')
    const { exitCode, counted, sum } = await rotate(bothKeys)
    expect({ exitCode, done: counted?.done }).toEqual({ exitCode: 0, done: true })
    expect([sum('rotated'), sum('current'), sum('second'), sum('unreadable')]).toEqual([
      all,
      all,
      0,
      0,
    ])
    expect(await entries()).toBe(before)
    // Each encrypted column of the schema had a value, so none can be forgotten here.
    const filled = await Promise.all(
      (await sealedColumns()).map(async (name) => {
        const [table = '', column = ''] = name.split('.')
        const rows = await app.rows(`select 1 from ${table} where ${column} like 'v1:%' limit 1`)
        return [name, rows.length]
      }),
    )
    expect(filled.filter(([, count]) => count === 0)).toEqual([])
    const values = await Promise.all(
      filled.map(async ([name = '']) => {
        const [table = '', column = ''] = String(name).split('.')
        const [row] = await app.rows<{ count: number }>(
          `select count(*)::int as count from ${table} where ${column} like 'v1:%'`,
        )
        return row?.count ?? 0
      }),
    )
    expect(values.reduce((total, count) => total + count, 0)).toBe(all)
  })

  it('is a no-op when it is repeated, and the old key is of no use any more', async () => {
    expect(await rotate(bothKeys)).toMatchObject({ exitCode: 0, counted: { done: true } })
    expect((await rotate(newKey, '--check')).counted?.done).toBe(true)
    expect(await rotate({ ENCRYPTION_KEY: oldKey }, '--check')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('ENCRYPTION_KEY is not the key'),
    })
    const [row] = await app.rows<{ sealed: string }>(
      'select stripe_secret_key_sealed as sealed from conferences where id = $1',
      [shop.conference],
    )
    const context = `conferences.stripe_secret_key:${shop.conference}`
    expect(createEncryption(NEW_KEY).decrypt(row?.sealed ?? '', context)).toBe(shop.stripeKey)
  })

  it('finds values that a process with the old key as ENCRYPTION_KEY wrote after the rotation', async () => {
    const late = createEncryption(TEST_ENCRYPTION_KEY).encrypt(
      '{}',
      'idempotency_keys:bulk:bulk-000',
    )
    await app.rows(`update idempotency_keys set answer_sealed = $1 where key = 'bulk-000'`, [late])
    expect((await rotate(bothKeys, '--check')).sum('second')).toBe(1)
    expect((await rotate(bothKeys)).sum('rotated')).toBe(1)
  })

  it('says what neither key can read', async () => {
    const alien = createEncryption(randomBytes(32)).encrypt('{}', 'idempotency_keys:bulk:bulk-001')
    await app.rows(`update idempotency_keys set answer_sealed = $1 where key = 'bulk-001'`, [alien])
    const { exitCode, stderr, sum } = await rotate(bothKeys)
    expect(exitCode).toBe(1)
    expect(stderr).toContain('1 values can be read with neither key')
    expect(sum('unreadable')).toBe(1)
  })
})
