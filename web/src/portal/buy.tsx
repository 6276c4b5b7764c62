import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useLocation, useSearchParams } from 'wouter'
import { useFormAction } from '../api/actions.ts'
import { ApiError, api, dataOf, type Schema } from '../api/client.ts'
import { SelectField } from '../ui/choices.tsx'
import { Button } from '../ui/controls.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { OtherErrors } from '../ui/form.tsx'
import { formatMoney, formatTime } from '../ui/format.ts'
import { PageHead } from '../ui/shell.tsx'
import { toast } from '../ui/toasts.tsx'
import { type Order as Fields, ORDER_NAMES, OrderFields } from './order-fields.tsx'
import { openCheckout, usePurchaseOptions } from './queries.ts'
import type { PortalScope } from './scope.ts'
import { Total } from './total.tsx'
import { termsSentence } from './words.ts'

type Item = Schema<'TicketType'> | Schema<'AddOn'>
type Options = Schema<'PurchaseOptions'>
type Body = Schema<'CreatePurchase'>

/** On Stripe's page, or by a bank transfer. */
type Way = 'page' | 'bank'

/** Choose what, see the price, pay. */
export function Buy({ scope }: { scope: PortalScope }) {
  const items = useItems(scope)
  const options = usePurchaseOptions(scope)
  return (
    <>
      <PageHead title="Buy codes" />
      <Loaded query={items}>
        {(found) => (
          <Loaded query={options}>
            {(ways) =>
              found.length === 0 ? (
                <Empty title="There is nothing to buy at the moment.">
                  <p>The organizers have not opened the sale yet, or it is over.</p>
                </Empty>
              ) : (
                <Order scope={scope} items={found} options={ways} />
              )
            }
          </Loaded>
        )}
      </Loaded>
    </>
  )
}

/** Everything on sale now. A sponsor gets only what can be bought in bulk. */
function useItems({ conference }: PortalScope) {
  return useQuery({
    queryKey: ['items', conference],
    queryFn: async () => {
      const params = { path: { conference }, query: { limit: 100 } }
      const [tickets, addOns] = await Promise.all([
        dataOf(api.GET('/v1/conferences/{conference}/ticket-types', { params })),
        dataOf(api.GET('/v1/conferences/{conference}/add-ons', { params })),
      ])
      const now = Date.now()
      return [...tickets.data, ...addOns.data].filter(
        ({ active_until: until }: Item) => until === null || new Date(until).getTime() > now,
      )
    },
    staleTime: 60_000,
  })
}

const isOnSale = ({ active_from: from }: Item) =>
  from === null || new Date(from).getTime() <= Date.now()

function Order({
  scope,
  items,
  options,
}: {
  scope: PortalScope
  items: readonly Item[]
  options: Options
}) {
  const { conference } = scope
  const { currency } = options
  const [search, setSearch] = useSearchParams()
  const [, navigate] = useLocation()
  const [order, setOrder] = useState({ quantity: 10, reference: '' })
  const chosen =
    items.find(({ id }) => id === search.get('item')) ?? (items.length === 1 ? items[0] : undefined)
  const buy = useFormAction({
    run: async ({ pay, body }: { pay: Way; body: Body | null }, idempotencyKey) => {
      if (body === null) {
        throw new ApiError({
          status: 400,
          code: 'validation_failed',
          detail: 'Choose what to buy.',
          errors: [{ pointer: '/item', detail: 'is required' }],
        })
      }
      const purchase = await dataOf(
        api.POST('/v1/conferences/{conference}/purchases', {
          params: { path: { conference }, header: { 'Idempotency-Key': idempotencyKey } },
          body,
        }),
      )
      return { purchase, pay }
    },
    changes: [['purchases', conference]],
    onDone: ({ purchase, pay }) => {
      navigate(`/purchases/${purchase.id}${pay === 'bank' ? '?pay=bank' : ''}`)
      if (pay === 'bank' || purchase.total_amount === 0) return
      // The purchase exists now, so a failure is told on its page, where the payment can be tried again.
      openCheckout(scope, purchase.id).then(
        ({ url }) => {
          if (url !== null) location.assign(url)
        },
        (error: Error) => toast({ text: error.message, kind: 'error' }),
      )
    },
  })
  const buyAs = (pay: Way) => buy.mutate({ pay, body: bodyOf(chosen, order) })
  const isFree = chosen?.price === 0
  const itemError = asItemError(buy.error)
  return (
    <form
      className="card stack form-narrow"
      onSubmit={(event) => {
        event.preventDefault()
        buyAs(options.checkout || isFree ? 'page' : 'bank')
      }}
    >
      <SelectField
        label="What"
        name="item"
        value={chosen?.id ?? null}
        onChange={(id) => setSearch({ item: id }, { replace: true })}
        options={items.map((item) => ({
          key: item.id,
          label: `${item.name} · ${item.price === 0 ? 'free' : formatMoney(item.price, currency)}`,
          hint: isOnSale(item)
            ? (item.description ?? undefined)
            : `On sale from ${formatTime(item.active_from ?? '')}`,
        }))}
        error={itemError}
        hint={
          chosen === undefined
            ? 'Tickets and extras that sponsors can buy for others.'
            : termsSentence(chosen.voucher_defaults, currency)
        }
      />
      <OrderFields order={order} onChange={setOrder} max={options.max_quantity} error={buy.error} />
      <OtherErrors error={buy.error} shown={['item', 'ticket_type', 'add_on', ...ORDER_NAMES]} />
      <Total price={chosen?.price ?? null} quantity={order.quantity} currency={currency} />
      <div className="row">
        {isFree ? (
          <Button kind="primary" type="submit" busy={buy.isPending}>
            Ask for the free codes
          </Button>
        ) : null}
        {!isFree && options.checkout ? (
          <Button kind="primary" type="submit" busy={buy.isPending}>
            Continue to payment
          </Button>
        ) : null}
        {!isFree && options.bank_details !== null ? (
          <Button
            {...(options.checkout ? {} : { kind: 'primary' as const })}
            isDisabled={buy.isPending}
            onPress={() => buyAs('bank')}
          >
            We pay by bank transfer
          </Button>
        ) : null}
      </div>
      {!isFree && !options.checkout && options.bank_details === null ? (
        <p className="note note-warn">
          The organizers cannot take payments yet. Ask them, and come back later.
        </p>
      ) : null}
    </form>
  )
}

/** Null: nothing is chosen. */
function bodyOf(item: Item | undefined, { quantity, reference }: Fields): Body | null {
  if (item === undefined) return null
  return {
    ...(item.object === 'ticket_type' ? { ticket_type: item.id } : { add_on: item.id }),
    quantity: Number.isNaN(quantity) ? 0 : quantity,
    reference: reference.trim() || null,
  }
}

/** The API names the field by the kind of item; the form has one field for both. */
function asItemError(error: ApiError | null): ApiError | null {
  const found = error?.errors.find(({ pointer }) =>
    ['/item', '/ticket_type', '/add_on'].includes(pointer),
  )
  if (error === null || found === undefined) return null
  return new ApiError({
    status: error.status,
    code: error.code,
    detail: error.message,
    errors: [{ ...found, pointer: '/item' }],
  })
}
