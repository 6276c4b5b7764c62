import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { createEncryption } from '../../src/shared/cryptography.ts'
import { startProgram } from '../cli/start-program.ts'
import { createStaffKey } from '../support/fixtures.ts'
import { startServiceProcess, useServiceProcesses } from '../support/service-process.ts'
import { useFakeStripe } from '../support/shop.ts'
import { OPERATOR_KEY } from '../support/test-app.ts'
import { adminQuery } from '../support/test-connections.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { openPurchase, openShopWithWebhook } from './support/conference.ts'
import { say } from './support/say.ts'

useServiceProcesses()
const database = useTestDatabase()
const stripe = useFakeStripe()

const OLD = Buffer.alloc(32, 7)
const NEW = randomBytes(32)
const old = OLD.toString('base64')
const fresh = NEW.toString('base64')

const rows = <Row>(sql: string, parameters: unknown[] = []) =>
  adminQuery<Row & object>(database.adminConnectionString, sql, parameters)

/** A receiver of outbound webhooks that keeps the signatures. */
async function startReceiver() {
  const signatures: string[] = []
  const server = createServer((request, response) => {
    signatures.push(String(request.headers['webhook-signature']))
    request.resume().on('end', () => response.end())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, signatures }
}

it('every kind of secret is replaced while the service runs', async () => {
  const { control } = stripe.fake
  const settings = {
    DATABASE_URL: database.connectionString,
    STRIPE_API_BASE: stripe.fake.url,
    WEBHOOKS_ALLOW_LOOPBACK: 'true',
    OPERATOR_API_KEY: OPERATOR_KEY,
  }
  // 1. Every process can read the new key, and writes with the old one.
  const first = await startServiceProcess({
    ...settings,
    ENCRYPTION_KEY: old,
    ENCRYPTION_KEY_SECOND: fresh,
  })
  await first.ready()
  const { shop, endpoint, secretId } = await openShopWithWebhook(first, stripe.fake)
  const receiver = await startReceiver()
  const outbound = await first.request<{ id: string }>('POST', `${shop.path}/webhook-endpoints`, {
    body: { url: receiver.url },
  })
  const pay = async () => {
    const { id, session } = await openPurchase(shop)
    control.pay(session)
    await expect.poll(async () => (await shop.get(id)).status).toBe('PAID')
  }
  await pay()

  // Stored answers of a day, so that the rotation takes long enough to be killed.
  const encryption = createEncryption(OLD)
  const answers = Array.from({ length: 6_000 }, (_, index) => ({
    key: `drill-${index}`,
    sealed: encryption.encrypt('{}', `idempotency_keys:drill:drill-${index}`),
  }))
  await rows(
    `insert into idempotency_keys (conference_id, caller, key, fingerprint, answer_sealed)
     select $1, 'drill', a.key, 'x', a.sealed
     from json_to_recordset($2::json) as a (key text, sealed text)`,
    [shop.conference, JSON.stringify(answers)],
  )

  // 2. Every process writes with the new key.
  const second = await startServiceProcess({
    ...settings,
    ENCRYPTION_KEY: fresh,
    ENCRYPTION_KEY_SECOND: old,
  })
  await second.ready()
  say('ENCRYPTION_KEY: one process writes with the old key, one with the new one; both read both')
  expect((await second.request('GET', shop.path)).status).toBe(200)
  await pay()
  await first.terminate()
  const both = { ...settings, ENCRYPTION_KEY: fresh, ENCRYPTION_KEY_SECOND: old }
  const command = (...args: string[]) =>
    startProgram('src/cli/sponsor-vouchers.ts', ['encryption:rotate', '--json', ...args], both)

  // 3. Everything is encrypted again. The command is killed in the middle.
  const rotated = async () => {
    const sealed = await rows<{ key: string; sealed: string }>(
      `select key, answer_sealed as sealed from idempotency_keys where caller = 'drill'`,
    )
    const renewed = createEncryption(NEW)
    return sealed.filter(
      (row) => renewed.keyOf(row.sealed, `idempotency_keys:drill:${row.key}`) === 'current',
    ).length
  }
  const killed = command()
  await expect.poll(rotated, { interval: 5 }).toBeGreaterThan(0)
  killed.kill('SIGKILL')
  await killed.ended
  const part = await rotated()
  say(`encryption:rotate was killed with -9 after ${part} of ${answers.length} stored answers`)
  const again = command()
  expect(await again.ended, again.stderr).toBe(0)
  expect(await rotated()).toBe(answers.length)
  type Report = { done: boolean; data: { current: number; second: number }[] }
  const report = JSON.parse(again.stdout) as Report
  say(
    `again: ${report.data.reduce((sum, { current }) => sum + current, 0)} values are under the new key, ${report.data.reduce((sum, count) => sum + count.second, 0)} under the old one`,
  )
  expect(report.done).toBe(true)

  // 4. The old key is of no use.
  const operator = await second.request<{ key: string }>('POST', '/v1/api-keys', {
    body: { name: 'Operator of the drill', role: 'operator' },
  })
  expect(operator.status).toBe(201)
  await second.terminate()
  const newOperatorKey = `operator_${randomBytes(16).toString('hex')}`
  const third = await startServiceProcess({
    ...settings,
    ENCRYPTION_KEY: fresh,
    OPERATOR_API_KEY: newOperatorKey,
    // Where the webhook endpoint at Stripe leads.
    PORT: new URL(first.url).port,
  })
  await third.ready()
  const outdated = await startServiceProcess({ ...settings, ENCRYPTION_KEY: old })
  await expect(outdated.ready()).rejects.toThrow(/ENCRYPTION_KEY is not the key/)
  say('a process with the new key alone serves; one with the old key alone does not start')

  const asOperator = (as: string) => third.request('GET', '/v1/conferences', { as })
  expect([
    (await asOperator(OPERATOR_KEY)).status,
    (await asOperator(newOperatorKey)).status,
    (await asOperator(operator.body.key)).status,
  ]).toEqual([401, 200, 200])
  say('OPERATOR_API_KEY: the old one is refused, the new one and a stored operator key work')
  const request = <T>(method: string, path: string, body?: object) =>
    third.request<T>(method, path, {
      as: newOperatorKey,
      ...(body === undefined ? {} : { body }),
    })

  const staff = await createStaffKey(
    {
      request: (method, path, options) =>
        third.request(method, path, { as: newOperatorKey, ...options }),
    },
    shop,
    ['purchases:read'],
  )
  const key = await request<{ key: string }>('POST', `${shop.path}/api-keys/${staff.id}/rotate`, {
    overlap_seconds: 3_600,
  })
  const list = (as: string) => third.request('GET', `${shop.path}/purchases`, { as })
  expect([(await list(staff.key)).status, (await list(key.body.key)).status]).toEqual([200, 200])
  say('API key: rotated with an overlap, both work')

  const stripeKey = control.createKey(shop.stripeKey)
  const changed = await request('PATCH', shop.path, { stripe_secret_key: stripeKey })
  expect(changed.status).toBe(200)
  control.revokeKey(shop.stripeKey)
  say('Stripe key: the new one is set, the old one revoked at Stripe')

  const rolled = control.rollWebhookSecret(endpoint, 3_600)
  expect((await request('POST', `${shop.path}/webhook-secrets`, { secret: rolled })).status).toBe(
    201,
  )
  expect((await request('DELETE', `${shop.path}/webhook-secrets/${secretId}`)).status).toBe(204)
  say('webhook secret: rolled at Stripe, the new one is added, the old one deleted')

  receiver.signatures.length = 0
  const signing = `${shop.path}/webhook-endpoints/${outbound.body.id}/rotate-secret`
  expect((await request('POST', signing, { overlap_seconds: 3_600 })).status).toBe(200)
  const bought = await third.request<{ id: string }>('POST', `${shop.path}/purchases`, {
    as: shop.sponsorKey,
    body: { ticket_type: shop.ticketType, quantity: 10 },
  })
  const page = await third.request<{ session_id: string }>(
    'POST',
    `${shop.path}/purchases/${bought.body.id}/checkout`,
    {
      as: shop.sponsorKey,
      body: { success_url: 'https://shop.example/thanks', cancel_url: 'https://shop.example/' },
    },
  )
  expect(page.status).toBe(200)
  control.pay(page.body.session_id)
  await expect.poll(() => receiver.signatures.length).toBeGreaterThan(0)
  expect(receiver.signatures[0]?.split(' ')).toHaveLength(2)
  await expect
    .poll(async () => {
      const url = `${shop.path}/purchases/${bought.body.id}`
      return (await request<{ status: string }>('GET', url)).body.status
    })
    .toBe('PAID')
  say('signing secret of outbound webhooks: deliveries have both signatures')
  say('a purchase after all of it: PAID, with the new Stripe key and the new webhook secret')
})
