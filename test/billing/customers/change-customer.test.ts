import { afterEach, describe, expect, it } from 'vitest'
import { updateSponsorCustomer } from '../../../src/billing/customers/change-customer.ts'
import { createStaffKey, unique } from '../../support/fixtures.ts'
import type { Body } from '../../support/test-app.ts'
import { type Payer, useSubscriptionScene } from '../subscriptions/subscription-scene.ts'

const scene = useSubscriptionScene()
afterEach(() => scene.fake.control.clearFaults())

const url = (payer: Payer, rest = '') => `${scene.shop.path}/customers/${payer.customer}${rest}`

const change = (payer: Payer, body: Body, as = payer.key) =>
  scene.request('PATCH', url(payer), { as, body })

const renameSponsor = (payer: Payer, body: Body) =>
  scene.request('PATCH', `${scene.shop.path}/sponsors/${payer.sponsor}`, { body })

const runJob = (payer: Payer) =>
  updateSponsorCustomer(scene.deps, scene.shop.conference, payer.sponsor)

const atStripe = ({ stripeCustomer }: Payer) => scene.dashboard.customers.retrieve(stripeCustomer)

const waitingJobs = ({ sponsor }: Payer) =>
  scene.rows('select key from graphile_worker.jobs where key = $1', [`update_customer:${sponsor}`])

describe('a customer', () => {
  it('gets a name and an address of its own, here and at Stripe (issue 8, line 28)', async () => {
    const payer = await scene.payer()
    const details = { name: 'Acme Accounting', email: 'bills@acme.example' }
    expect(await change(payer, details)).toMatchObject({ status: 200, body: details })
    expect(await atStripe(payer)).toMatchObject(details)
    const own = await atStripe(payer)
    expect(await change(payer, { email: null })).toMatchObject({
      status: 200,
      body: { name: 'Acme Accounting', email: expect.not.stringContaining('bills') },
    })
    expect(await atStripe(payer)).toMatchObject({ name: 'Acme Accounting' })
    expect(own).not.toMatchObject({ email: null })
  })

  it('is changed once by a repeat whose first answer was lost', async () => {
    const payer = await scene.payer()
    const path = `/v1/customers/${payer.stripeCustomer}`
    const action = { kind: 'fail_after' } as const
    scene.fake.control.injectFault({ method: 'POST', path, times: 'always', action })
    expect(await change(payer, { name: 'Lost' })).toMatchObject({ status: 503 })
    scene.fake.control.clearFaults()
    expect(await change(payer, { name: 'Lost' })).toMatchObject({ body: { name: 'Lost' } })
    expect(await atStripe(payer)).toMatchObject({ name: 'Lost' })
  })

  it('keeps its name when Stripe refuses the change', async () => {
    const payer = await scene.payer()
    const path = `/v1/customers/${payer.stripeCustomer}`
    const action = { kind: 'refuse', status: 400 } as const
    scene.fake.control.injectFault({ method: 'POST', path, action })
    expect(await change(payer, { name: 'Refused' })).toMatchObject({
      status: 409,
      body: { code: 'stripe_refused' },
    })
    await runJob(payer)
    expect(await atStripe(payer)).toMatchObject({ name: expect.not.stringContaining('Refused') })
  })

  it('is changed only by its sponsor and by staff with billing:write', async () => {
    const [payer, other] = [await scene.payer(), await scene.payer()]
    expect(await change(payer, { name: 'Theirs' }, other.key)).toMatchObject({ status: 404 })
    const { key } = await createStaffKey(scene, scene.shop, ['purchases:write'])
    expect(await change(payer, { name: 'Theirs' }, key)).toMatchObject({ status: 403 })
  })
})

describe('a renamed sponsor', () => {
  it('reaches its customer at Stripe (issue 8, line 28)', async () => {
    const payer = await scene.payer()
    const renamed = { name: unique('Renamed'), contact_email: 'new@acme.example' }
    expect(await renameSponsor(payer, renamed)).toMatchObject({ status: 200 })
    expect(await waitingJobs(payer)).toHaveLength(1)
    await runJob(payer)
    const details = { name: renamed.name, email: renamed.contact_email }
    expect(await atStripe(payer)).toMatchObject(details)
    expect(await scene.request('GET', url(payer))).toMatchObject({ body: details })
    scene.fake.control.clearRequests()
    await runJob(payer)
    expect(scene.fake.control.requests({ method: 'POST' })).toEqual([])
  })

  it('does not replace the name that its customer was given', async () => {
    const payer = await scene.payer()
    await change(payer, { name: 'Acme Accounting' })
    await renameSponsor(payer, { name: unique('Renamed') })
    await runJob(payer)
    expect(await atStripe(payer)).toMatchObject({ name: 'Acme Accounting' })
  })

  it('has no job for a change of something else, and needs no customer', async () => {
    const payer = await scene.payer()
    await renameSponsor(payer, { external_id: unique('crm') })
    expect(await waitingJobs(payer)).toEqual([])
    await updateSponsorCustomer(scene.deps, scene.shop.conference, 'spon_none')
  })
})

describe('a card that Stripe.js collected', () => {
  const attach = (payer: Payer, method: string, key = unique('key')) =>
    scene.request('POST', url(payer, '/payment-methods'), {
      as: payer.key,
      body: { payment_method: method },
      headers: { 'idempotency-key': key },
    })
  const cardsOf = async ({ stripeCustomer }: Payer) =>
    (await scene.dashboard.customers.listPaymentMethods(stripeCustomer)).data

  const collected = async () => {
    const card = { token: 'tok_visa' }
    return (await scene.dashboard.paymentMethods.create({ type: 'card', card })).id
  }

  it('is saved and becomes the default, and is charged (issue 8, line 28)', async () => {
    const payer = await scene.payer(null)
    const method = await collected()
    expect(await attach(payer, method)).toMatchObject({
      status: 201,
      body: { id: method, brand: 'visa', last4: '4242', is_default: true },
    })
    expect(await scene.subscribe(payer)).toMatchObject({ status: 'active' })
  })

  it('is saved once when the answer is lost or refused after the work', async () => {
    const payer = await scene.payer(null)
    const method = await collected()
    const path = `/v1/payment_methods/${method}/attach`
    const action = { kind: 'refuse', status: 401, executed: true } as const
    scene.fake.control.injectFault({ method: 'POST', path, action })
    const key = unique('key')
    expect(await attach(payer, method, key)).toMatchObject({ status: 502 })
    expect(await attach(payer, method, key)).toMatchObject({ status: 201, body: { id: method } })
    expect(await cardsOf(payer)).toHaveLength(1)
  })

  it('is refused when another customer has it, when it is unknown, and when it is not a card', async () => {
    const [payer, other] = [await scene.payer(), await scene.payer(null)]
    const [card] = await cardsOf(payer)
    expect(await attach(other, card?.id ?? '')).toMatchObject({
      status: 409,
      body: { code: 'stripe_refused' },
    })
    expect(await attach(other, 'pm_unknown')).toMatchObject({ status: 409 })
    expect(await attach(other, 'card_1')).toMatchObject({ status: 400 })
    expect(await cardsOf(other)).toEqual([])
  })
})
