import { expect, it } from 'vitest'
import { useFakeStripe } from './shop.ts'
import { useStripeProxy } from './stripe-proxy.ts'

const stripe = useFakeStripe()
const proxy = useStripeProxy(stripe)

const balance = async () => {
  const headers = { authorization: 'Bearer sk_test_proxy' }
  return (await fetch(`${proxy.url}/v1/balance`, { headers })).status
}

it('holds the next request, also after a hold that was released before its request came', async () => {
  const unused = proxy.holdRequest({ path: /balance/ })
  unused.release()
  const held = proxy.holdRequest({ path: /balance/ })
  const answer = balance()
  await held.reached
  held.release()
  expect(await answer).toBe(200)
})
