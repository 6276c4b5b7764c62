import type { FakeStripe } from 'fake-stripe/source'
import type { ServiceProcess } from '../../support/service-process.ts'
import { openShop, type Shop } from '../../support/shop.ts'

/** A shop on a real process whose Stripe account sends its events there. */
export async function openShopWithWebhook(service: ServiceProcess, fake: FakeStripe) {
  const shop = await openShop(service)
  // The fake opens a key's account at its first request.
  const headers = { authorization: `Bearer ${shop.stripeKey}` }
  const answer = await fetch(`${fake.url}/v1/account`, { headers })
  const { id: account } = (await answer.json()) as { id: string }
  const { id: endpoint, secret } = fake.control.addWebhookEndpoint({
    account,
    url: `${service.url}/webhooks/stripe/${shop.conference}`,
  })
  const made = await service.request<{ id: string }>('POST', `${shop.path}/webhook-secrets`, {
    body: { secret },
  })
  return { shop, account, endpoint, secretId: made.body.id }
}

/** A purchase whose payment page is open. */
export async function openPurchase(shop: Shop): Promise<{ id: string; session: string }> {
  const { id } = await shop.buy()
  return { id, session: await shop.openSession(id) }
}
