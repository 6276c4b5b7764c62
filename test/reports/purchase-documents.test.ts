import { beforeAll, expect, it } from 'vitest'
import { createSponsor, createSponsorKey } from '../support/fixtures.ts'
import { openShop, type Shop } from '../support/shop.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'

const { app, stripe } = useAppOnStripe()

type Documents = { data: { kind: string; url: string; amount: number; number: string | null }[] }

let shop: Shop
let paid: string
let intent: string
beforeAll(async () => {
  shop = await openShop(app)
  paid = (await shop.buy()).id
  stripe.fake.control.pay(await shop.openSession(paid))
  const { body } = await shop.act(paid, 'reconcile')
  intent = String(body['payment_intent'])
  // As the mirror's worker does after the payment.
  await app.rows(
    `insert into stripe.charges (conference_id, id, created, as_of, livemode, data, payment_intent, status, amount,
       currency, receipt_url)
     select $1, id, now(), now(), false, '{}', $2, status, 10000, 'eur', url
     from (values ('ch_1', 'failed', null), ('ch_2', 'succeeded', 'https://receipts.example/ch_2'))
       as charge (id, status, url)`,
    [shop.conference, intent],
  )
})

const documentsOf = (purchase: string, as = shop.sponsorKey) =>
  app.request<Documents>('GET', `${shop.path}/purchases/${purchase}/documents`, { as })

it('the sponsor finds Stripe’s receipt of the payment', async () => {
  expect(await documentsOf(paid)).toMatchObject({
    status: 200,
    body: {
      data: [
        {
          object: 'purchase_document',
          kind: 'receipt',
          url: 'https://receipts.example/ch_2',
          pdf: null,
          amount: 10_000,
          currency: 'EUR',
        },
      ],
    },
  })
})

it('the sponsor finds the invoice of the payment, once', async () => {
  // Stripe names the invoice in both places.
  await app.rows(
    `insert into stripe.invoices (conference_id, id, created, as_of, livemode, data, payment_intent, number, total,
       currency, hosted_invoice_url, invoice_pdf)
     values ($1, 'in_1', now(), now(), false, '{}', $2, 'PY-1', 10000, 'eur', 'https://invoice.example/in_1',
       'https://invoice.example/in_1.pdf')`,
    [shop.conference, intent],
  )
  await app.rows(
    `update stripe.checkout_sessions set invoice = 'in_1' where conference_id = $1 and payment_intent = $2`,
    [shop.conference, intent],
  )
  const { body } = await documentsOf(paid)
  expect(body.data.filter(({ kind }) => kind === 'invoice')).toMatchObject([
    {
      number: 'PY-1',
      url: 'https://invoice.example/in_1',
      pdf: 'https://invoice.example/in_1.pdf',
    },
  ])
  expect(body.data).toHaveLength(2)
})

it('an unpaid purchase has no documents', async () => {
  const { id } = await shop.buy()
  await shop.openSession(id)
  expect(await documentsOf(id)).toMatchObject({ status: 200, body: { data: [] } })
})

it('another sponsor does not find the purchase', async () => {
  const other = await createSponsor(app, shop)
  const { key } = await createSponsorKey(app, shop, other.id)
  expect(await documentsOf(paid, key)).toMatchObject({ status: 404 })
})
