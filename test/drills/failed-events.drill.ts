import { expect, it } from 'vitest'
import { startProgram } from '../cli/start-program.ts'
import { startServiceProcess, useServiceProcesses } from '../support/service-process.ts'
import { useFakeStripe } from '../support/shop.ts'
import { adminQuery } from '../support/test-connections.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { openPurchase, openShopWithWebhook } from './support/conference.ts'
import { say } from './support/say.ts'

useServiceProcesses()
const database = useTestDatabase()
const stripe = useFakeStripe()

const PURCHASES = 40

it('a day of failed events is replayed: every purchase is paid once', async () => {
  const { control } = stripe.fake
  const settings = {
    DATABASE_URL: database.connectionString,
    STRIPE_API_BASE: stripe.fake.url,
    // Only a replay may repair it here.
    RECONCILE_AFTER_SECONDS: '86400',
    MISSED_EVENTS_EVERY_SECONDS: '86400',
    ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
    OPERATOR_API_KEY: 'operator-key-of-the-tests',
  }
  const server = await startServiceProcess({ ...settings, RUN: 'serve' })
  await server.ready()
  const { shop } = await openShopWithWebhook(server, stripe.fake)
  for (let count = 0; count < PURCHASES; count += 1) {
    control.pay((await openPurchase(shop)).session)
  }
  await control.waitForDeliveries()
  const sql = <Row>(text: string) => adminQuery<Row & object>(database.adminConnectionString, text)
  // What a bad release leaves behind: every attempt of the day failed.
  await sql(
    `update stripe_events set status = 'failed', attempts = 20, finished_at = now(),
       last_error = 'TypeError: the release of Tuesday', created_at_stripe = now() - interval '20 hours'`,
  )
  const counts = async () => {
    const [row] = await sql<{ failed: number; paid: number; codes: number }>(
      `select (select count(*)::int from stripe_events where status = 'failed') as failed,
         (select count(*)::int from bulk_purchases where status = 'PAID') as paid,
         (select count(*)::int from vouchers) as codes`,
    )
    return row
  }
  say(`${(await counts())?.failed} events have failed, ${PURCHASES} paid purchases have no codes`)
  expect(await counts()).toMatchObject({ paid: 0, codes: 0 })

  const worker = await startServiceProcess({ ...settings, RUN: 'work' })
  await worker.ready()
  const replay = async () => {
    const program = startProgram(
      'src/cli/sponsor-vouchers.ts',
      ['events:replay', '--failed', '--conference', shop.conference],
      { ...settings },
    )
    expect(await program.ended, program.stderr).toBe(0)
    return program.stdout.trim().split('\n').at(-1)
  }
  say(`events:replay --failed: ${await replay()}`)
  await expect.poll(counts).toEqual({ failed: 0, paid: PURCHASES, codes: PURCHASES * 10 })
  say(`${PURCHASES} purchases are PAID, ${PURCHASES * 10} codes are issued`)
  say(`again: ${await replay()}`)
  expect(await counts()).toEqual({ failed: 0, paid: PURCHASES, codes: PURCHASES * 10 })
})
