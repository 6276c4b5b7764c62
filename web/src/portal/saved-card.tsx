import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { Button } from '../ui/controls.tsx'
import { Money } from '../ui/data.tsx'
import { Dialog, DialogButtons } from '../ui/dialog.tsx'
import type { PortalScope } from './scope.ts'

type Card = Schema<'PaymentMethod'>

const CUSTOMERS = '/v1/conferences/{conference}/customers'

/** What is charged by default without a payment page; null if the sponsor saved no card. */
async function fetchDefaultCard(conference: string): Promise<Card | null> {
  const customers = await dataOf(api.GET(CUSTOMERS, { params: { path: { conference } } }))
  const [customer] = customers.data
  if (customer === undefined || customer.default_payment_method === null) return null
  const { data } = await dataOf(
    api.GET(`${CUSTOMERS}/{customer}/payment-methods`, {
      params: { path: { conference, customer: customer.id }, query: { limit: 100 } },
    }),
  )
  return data.find(({ is_default: isDefault }) => isDefault) ?? null
}

/** `Visa ending in 4242` */
const nameOf = ({ brand, type, last4 }: Card) =>
  `${(brand ?? type ?? 'card').replace(/^\w/, (first) => first.toUpperCase())} ending in ${last4 ?? '…'}`

/** Pays with the sponsor's saved card, if there is one. */
export function SavedCard({
  scope: { conference },
  purchase,
}: {
  scope: PortalScope
  purchase: Schema<'Purchase'>
}) {
  const [asks, setAsks] = useState(false)
  const { data: card = null } = useQuery({
    queryKey: ['default-card', conference],
    queryFn: () => fetchDefaultCard(conference),
    staleTime: 60_000,
  })
  const pay = useAction({
    run: (method: string, key) =>
      dataOf(
        api.POST('/v1/conferences/{conference}/purchases/{purchase}/pay', {
          params: {
            path: { conference, purchase: purchase.id },
            header: { 'Idempotency-Key': key },
          },
          // What the person saw is what is charged.
          body: { payment_method: method },
        }),
      ),
    changes: [['purchases', conference]],
    // The page says what came of it.
    onDone: () => setAsks(false),
  })
  if (card === null) return null
  return (
    <>
      <Button onPress={() => setAsks(true)}>Pay with {nameOf(card)}</Button>
      <Dialog title="Pay with the saved card?" isOpen={asks} onClose={() => setAsks(false)}>
        <p>
          <Money amount={purchase.total_amount} currency={purchase.currency} /> are charged to{' '}
          {nameOf(card)} now.
        </p>
        <DialogButtons
          action="Pay"
          busy={pay.isPending}
          onAction={() => pay.mutate(card.id)}
          onClose={() => setAsks(false)}
        />
      </Dialog>
    </>
  )
}
