import type Stripe from 'stripe'
import { beforeEach, describe, expect, it } from 'vitest'
import type { BillingDeps } from '../../../src/billing/billing-deps.ts'
import { ensureCustomer } from '../../../src/billing/customers/ensure-customer.ts'
import { refreshCustomer, setDefaultCard } from '../../../src/billing/customers/saved-cards.ts'
import { StripeCustomerAction } from '../../../src/mirror/resources/customer-resource.ts'
import { storedRow } from '../../mirror/expect-mirrored.ts'
import { useSyncScene, type WiredShop } from '../../mirror/sync-scene.ts'
import type { Body } from '../../support/test-app.ts'

const scene = useSyncScene()

let shop: WiredShop
beforeEach(async () => {
  shop = await scene.openWiredShop()
})

/** Like the service, but `meanwhile` runs after Stripe has answered a write and before we read the answer. */
function depsWithLateAnswer(
  write: 'create' | 'update',
  meanwhile: (answer: Stripe.Customer) => Promise<unknown>,
): BillingDeps {
  const stripe = scene.stripeOf(shop)
  const { customers } = stripe
  const send = customers[write].bind(customers) as (...args: unknown[]) => Promise<Stripe.Customer>
  Object.assign(customers, {
    [write]: async (...args: unknown[]) => {
      const answer = await send(...args)
      await meanwhile(answer)
      return answer
    },
  })
  const clients = {
    ...scene.deps.clients,
    connect: async (conferenceId: string) => ({
      ...(await scene.deps.clients.connect(conferenceId)),
      stripe,
    }),
  }
  return { ...scene.deps, clients }
}

function refOf(id: string) {
  return { conferenceId: shop.conference, customerId: id }
}

async function openCustomer(): Promise<{ id: string; stripe_customer: string }> {
  const { body } = await scene.request<{ id: string; stripe_customer: string }>(
    'POST',
    `${shop.path}/customers`,
    { as: shop.sponsorKey, body: {} },
  )
  return body
}

function attach(customer: string): string {
  const path = '/v1/payment_methods/pm_card_visa/attach'
  const card = scene.fake.control.call(shop.stripeKey, 'POST', path, { customer }) as Body
  return String(card['id'])
}

describe('an answer of Stripe that arrives late', () => {
  it('does not bring back the default card that a later request replaced (issue 8, line 15)', async () => {
    const customer = await openCustomer()
    const ref = refOf(customer.id)
    const [first, second] = [attach(customer.stripe_customer), attach(customer.stripe_customer)]
    await refreshCustomer(scene.deps, ref)
    const late = depsWithLateAnswer('update', () => setDefaultCard(scene.deps, ref, second))
    await setDefaultCard(late, ref, first)
    const row = await storedRow(scene, shop, 'customers', customer.stripe_customer)
    expect(row?.['default_payment_method']).toBe(second)
  })

  it('does not revive a customer that was deleted meanwhile (issue 8, line 15)', async () => {
    const customer = await openCustomer()
    await scene.rows(
      'update customers set stripe_customer_id = null, tried_at = null, idempotency_key = $1',
      ['another-key'],
    )
    await scene.rows('delete from stripe.customers')
    let created = ''
    const late = depsWithLateAnswer('create', async ({ id }) => {
      created = id
      await scene.stripeOf(shop).customers.del(id)
      await new StripeCustomerAction(scene.context(shop)).refresh(id)
    })
    await ensureCustomer(late, refOf(customer.id))
    const row = await storedRow(scene, shop, 'customers', created)
    expect(row?.deleted_at).toBeInstanceOf(Date)
  })
})
