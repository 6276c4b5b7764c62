import { beforeAll, describe, expect, it } from 'vitest'
import { withTenant } from '../../src/db/tenant-scope.ts'
import { redactStoredAnswers } from '../../src/http/idempotency.ts'
import { ALL_RESOURCES } from '../../src/mirror/resource-registry.ts'
import { beginErasure, finishErasure } from '../../src/privacy/erase-personal-data.ts'
import { eventOf, type WiredShop } from '../stripe-events/inbox-app.ts'
import { type Body } from '../support/test-app.ts'
import { withAdminClient } from '../support/test-connections.ts'
import { useConferenceOfPeople, type Who } from './conference-of-people.ts'

const { app, log, encryption, send, sell, findEverywhere, totals, syncEverything } =
  useConferenceOfPeople()

type Erasure = Body & {
  id: string
  state: string
  erased: Record<string, number>
  stripe_customers: string[]
}

const erase = (shop: WiredShop, body: Body) =>
  app.request<Erasure>('POST', `${shop.path}/privacy/erasures`, { body })

const erasePerson = (shop: WiredShop, email: string) => erase(shop, { email, confirm: email })

const ADA: Who = {
  email: 'ada@quibble.example',
  name: 'Ada Lovelace-Grün',
  company: 'Quibblethorpe & Söhne',
}
const BOB: Who = { email: 'bob@other.example', name: 'Bob Beispiel', company: 'Other Ltd' }

describe('the erasure of a person', () => {
  let shop: WiredShop
  let ada: Awaited<ReturnType<typeof sell>>
  let bob: Awaited<ReturnType<typeof sell>>
  let before: unknown
  beforeAll(async () => {
    shop = await app.openWiredShop()
    ada = await sell(shop, ADA)
    bob = await sell(shop, BOB)
    before = await totals(shop)
  })

  it('is preceded by an export of all that it will find', async () => {
    const { status, body } = await app.request<{ tables: Record<string, unknown[]> }>(
      'POST',
      `${shop.path}/privacy/exports`,
      { body: { email: ADA.email } },
    )
    expect(status).toBe(200)
    expect(Object.keys(body.tables)).toEqual(
      expect.arrayContaining([
        'sponsors',
        'customers',
        'bulk_purchases',
        'charges',
        'users',
        'voucher_assignments',
        'redemptions',
        'stripe_events',
        'stripe.customers',
        'stripe.charges',
        'stripe.payment_methods',
        'stripe.checkout_sessions',
      ]),
    )
    const text = JSON.stringify(body)
    expect(text).not.toContain(BOB.email)
    for (const code of ada.codes) expect(text).not.toContain(code)
    // It left no mark.
    expect(await app.rows('select from erased_subjects')).toEqual([])
  })

  it('lets sponsors buy while an export reads', async () => {
    const sponsor = shop.sponsor
    await withAdminClient(app.adminConnectionString, async (client) => {
      await client.query('begin; lock table stripe_events in access exclusive mode')
      const exported = app.request('POST', `${shop.path}/privacy/exports`, {
        body: { sponsor },
      })
      const isWaiting = `select exists (select from pg_locks where not granted
        and relation = 'stripe_events'::regclass) as waiting`
      await expect
        .poll(async () => (await app.rows<{ waiting: boolean }>(isWaiting))[0]?.waiting)
        .toBe(true)
      // As a purchase does, whose foreign key refers to the sponsor.
      await app.rows(`select from sponsors where id = '${sponsor}' for key share nowait`)
      await client.query('rollback')
      expect(await exported).toMatchObject({ status: 200 })
    })
  })

  it('is refused without a repetition of the address', async () => {
    const answer = await erase(shop, { email: ADA.email, confirm: 'yes' })
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer: '/confirm' }] } })
    const both = { email: ADA.email, sponsor: 'x', confirm: ADA.email }
    expect(await erase(shop, both)).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/email' }] },
    })
  })

  it('leaves the address and the name nowhere in the database', async () => {
    expect((await findEverywhere(ADA.email)).length).toBeGreaterThan(15)
    expect((await findEverywhere(ADA.name)).length).toBeGreaterThan(8)
    const { status, body } = await erasePerson(shop, ADA.email)
    expect({ status, state: body.state }).toEqual({ status: 200, state: 'done' })
    expect(body.erased).toMatchObject({ sponsors: 1, customers: 1, users: 1 })
    expect(body.erased).toMatchObject({
      voucher_assignments: 1,
      redemptions: 1,
      recorded_payments: 1,
    })
    expect(body.stripe_customers).toEqual([ada.customer.stripe_customer])
    expect(await findEverywhere(ADA.email)).toEqual([])
    expect(await findEverywhere(ADA.name)).toEqual([])
  })

  it('keeps money, counts, the company and everybody else', async () => {
    expect(await totals(shop)).toEqual(before)
    const { body } = await app.request('GET', `${shop.path}/sponsors/${ada.sponsor.id}`)
    expect(body).toMatchObject({ name: ADA.company, contact_email: null })
    expect((await findEverywhere(BOB.email)).length).toBeGreaterThan(15)
    const others = await app.request('GET', `${shop.path}/sponsors/${bob.sponsor.id}`)
    expect(others.body).toMatchObject({ name: BOB.company })
  })

  it('is not undone by a sync, a webhook or an older process that writes the mirror', async () => {
    await syncEverything(shop)
    const customer = app.fake.control.get(ada.customer.stripe_customer)
    await app.post(shop, eventOf('customer.updated', { ...customer, phone: '1' }))
    await app.settle()
    expect(await findEverywhere(ADA.email)).toEqual([])
    expect(await findEverywhere(ADA.name)).toEqual([])
    const bobs = await app.rows(`select from stripe.charges where billing_email = $1`, [BOB.email])
    expect(bobs).toHaveLength(2)
  })

  it('leaves answers about the mirror and the customer that match their description', async () => {
    for (const { name } of ALL_RESOURCES) {
      const list = await app.request('GET', `${shop.path}/stripe/${name}?include_deleted=true`)
      expect({ name, status: list.status }).toEqual({ name, status: 200 })
    }
    const customer = `${shop.path}/customers/${ada.customer.id}`
    expect(await app.request('GET', customer)).toMatchObject({ status: 200 })
    expect(await app.request('GET', `${customer}/payment-methods`)).toMatchObject({ status: 200 })
    for (const path of ['users', 'vouchers', 'purchases', 'charges', 'stripe/events']) {
      expect(await app.request('GET', `${shop.path}/${path}`)).toMatchObject({ status: 200 })
    }
    const history = await app.request(
      'GET',
      `${shop.path}/purchases/${ada.purchase.id}/transitions`,
    )
    expect(history.status).toBe(200)
  })

  it('may be repeated, and then finds nothing', async () => {
    const [first] = await app.rows<{ id: string; erased: object }>('select * from erasures')
    const { body } = await erasePerson(shop, ADA.email)
    expect(body).toMatchObject({ id: first?.id, state: 'done', erased: first?.erased })
    const list = await app.request<{ data: unknown[] }>('GET', `${shop.path}/privacy/erasures`)
    expect(list.body.data).toEqual([body])
    const one = await app.request('GET', `${shop.path}/privacy/erasures/${body.id}`)
    expect(one.body).toEqual(body)
  })

  it('finds nothing of an unknown person, and says so', async () => {
    const { status, body } = await erasePerson(shop, 'nobody@nowhere.example')
    expect({ status, erased: body.erased }).toEqual({ status: 200, erased: {} })
  })
})

describe('the erasure of a sponsor', () => {
  const EVE: Who = { email: 'eve@zwiebel.example', name: 'Eve Example', company: 'Zwiebelfisch AG' }
  const byId = (id: string) => ({ sponsor: id, confirm: id })
  let shop: WiredShop
  let eve: Awaited<ReturnType<typeof sell>>
  beforeAll(async () => {
    shop = await app.openWiredShop()
    eve = await sell(shop, EVE)
  })

  it('waits until its money is settled', async () => {
    const order = { ticket_type: shop.ticketType, quantity: 1 }
    const open = await send(shop, 'purchases', order, { as: eve.key })
    const answer = await erase(shop, byId(eve.sponsor.id))
    expect(answer).toMatchObject({
      status: 409,
      body: { code: 'money_open', detail: expect.stringContaining('purchases (1)') },
    })
    expect((await findEverywhere(EVE.company)).length).toBeGreaterThan(3)
    await send(shop, `purchases/${open.id}/cancel`, {})
  })

  it('leaves its name only in the prefix of codes, which others hold', async () => {
    const before = await totals(shop)
    const { status, body } = await erase(shop, byId(eve.sponsor.id))
    expect({ status, state: body.state }).toEqual({ status: 200, state: 'done' })
    expect(await findEverywhere(EVE.email)).toEqual([])
    expect(await findEverywhere(EVE.company)).toEqual([])
    expect(await findEverywhere('zwiebelfisch')).toEqual([
      'public.bulk_purchases.code_prefix',
      'public.voucher_batches.prefix',
      'public.vouchers.code',
      'public.vouchers.code_key',
    ])
    expect(await totals(shop)).toEqual(before)
  })

  it('ends its keys, and tells Stripe its new name', async () => {
    const { status } = await app.request('GET', `${shop.path}/purchases`, { as: eve.key })
    expect(status).toBe(401)
    const jobs = await app.rows(`select from graphile_worker.jobs where key = $1`, [
      `update_customer:${eve.sponsor.id}`,
    ])
    expect(jobs).toHaveLength(1)
  })

  it('is not undone by a sync', async () => {
    await syncEverything(shop)
    expect(await findEverywhere(EVE.email)).toEqual([])
    expect(await findEverywhere(EVE.company)).toEqual([])
    const mine = await app.rows<{ billing_name: string | null }>(
      'select billing_name from stripe.charges where conference_id = $1',
      [shop.conference],
    )
    expect(mine).toEqual([{ billing_name: null }, { billing_name: null }])
  })
})

describe('an erasure that was cut off', () => {
  const PIA: Who = { email: 'pia@pause.example', name: 'Pia Pause', company: 'Pause & Co' }
  const deps = () => ({
    db: app.db,
    encryption,
    redactAnswers: (conferenceId: string, redact: (value: unknown) => unknown) =>
      redactStoredAnswers({ db: app.db, encryption }, conferenceId, redact),
  })

  it('is finished by its job, together with rows of transactions that were already open', async () => {
    const shop = await app.openWiredShop()
    await sell(shop, PIA)
    const { conference: conferenceId } = shop
    let commit = () => {}
    const mayCommit = new Promise<void>((resolve) => (commit = resolve))
    let inserted = () => {}
    const isInserted = new Promise<void>((resolve) => (inserted = resolve))
    const late = withTenant(app.db, { conferenceId }, async (trx) => {
      await trx('stripe.customers').insert({
        conference_id: conferenceId,
        id: 'cus_late',
        email: PIA.email,
        data: JSON.stringify({ id: 'cus_late', object: 'customer', email: PIA.email }),
        as_of: trx.fn.now(),
      })
      inserted()
      await mayCommit
    })
    await isInserted
    const erasureId = await withTenant(app.db, { conferenceId }, (trx) =>
      beginErasure(
        trx,
        encryption,
        { conferenceId, actor: { kind: 'operator', id: 'test' } },
        { kind: 'person', email: PIA.email },
      ),
    )
    // The process dies here. Its job waits in the queue.
    const jobs = await app.rows('select from graphile_worker.jobs where key = $1', [
      `finish_erasure:${erasureId}`,
    ])
    expect(jobs).toHaveLength(1)
    expect(await findEverywhere(PIA.email)).not.toEqual([])
    const finished = finishErasure(deps(), { conferenceId, erasureId })
    commit()
    await late
    expect(await finished).toMatchObject({ state: 'done' })
    expect(await findEverywhere(PIA.email)).toEqual([])
    expect(await findEverywhere(PIA.name)).toEqual([])
  })
})

describe('logs', () => {
  it('carry no address and no name, so an erasure needs none of them', () => {
    expect(log.length).toBeGreaterThan(50)
    const text = [...log, ...app.log].join('\n').toLowerCase()
    for (const { email, name } of [ADA, BOB]) {
      expect(text).not.toContain(email)
      expect(text).not.toContain(name.toLowerCase())
    }
  })
})
