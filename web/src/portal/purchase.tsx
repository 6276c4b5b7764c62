import { useQuery } from '@tanstack/react-query'
import { api, dataOf, type Schema } from '../api/client.ts'
import { Badge, Figure, Money, When } from '../ui/data.tsx'
import { Loaded } from '../ui/feedback.tsx'
import { formatCount } from '../ui/format.ts'
import { PageHead } from '../ui/shell.tsx'
import { Codes } from './codes.tsx'
import { NextStep } from './next-step.tsx'
import type { PortalScope } from './scope.ts'
import { historySentence, stateWord, termsSentence } from './words.ts'

type Purchase = Schema<'Purchase'>
type Transition = Schema<'PurchaseTransition'>

/** One purchase: its state in sentences, how to pay, its codes, what happened. */
export function PurchasePage({ scope, id }: { scope: PortalScope; id: string }) {
  const { conference } = scope
  const params = { path: { conference, purchase: id } }
  const purchase = useQuery({
    queryKey: ['purchases', conference, id],
    queryFn: () => dataOf(api.GET('/v1/conferences/{conference}/purchases/{purchase}', { params })),
    // Somebody else, a bank or the organizers may change it. The browser pauses this on hidden pages.
    refetchInterval: ({ state }) => (isMoving(state.data) ? 2_000 : 5_000),
  })
  const updatedAt = purchase.data?.updated_at
  const history = useQuery({
    queryKey: ['purchases', conference, id, 'history', updatedAt],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/purchases/{purchase}/transitions', {
          params: { ...params, query: { limit: 100 } },
        }),
      ),
    enabled: updatedAt !== undefined,
    placeholderData: (before) => before,
  })
  return (
    <Loaded query={purchase}>
      {(found) => {
        const { word, tone } = stateWord(found)
        return (
          <>
            <PageHead title={found.description}>
              <Badge tone={tone}>{word}</Badge>
            </PageHead>
            <NextStep scope={scope} purchase={found} history={history.data?.data} />
            {found.vouchers.issued > 0 ? (
              <section className="stack" aria-labelledby="codes-title">
                <h2 id="codes-title">Codes</h2>
                <VoucherFigures vouchers={found.vouchers} />
                <Codes scope={scope} of={{ kind: 'purchase', id }} issued={found.vouchers.issued} />
              </section>
            ) : null}
            <div className="grid">
              <Facts scope={scope} purchase={found} />
              <History purchase={found} transitions={history.data?.data ?? []} />
            </div>
          </>
        )
      }}
    </Loaded>
  )
}

/** Whether it changes by itself soon: a payment is on its way, or codes are being made. */
const isMoving = (purchase: Purchase | undefined) =>
  purchase?.status === 'PROCESSING' ||
  (purchase?.status === 'PAID' && purchase.vouchers.issued < purchase.quantity)

function VoucherFigures({ vouchers }: { vouchers: Purchase['vouchers'] }) {
  return (
    <dl className="figures card">
      <Figure name="Codes" value={formatCount(vouchers.issued)} />
      <Figure name="Used" value={formatCount(vouchers.redeemed)} />
      <Figure name="Left" value={formatCount(vouchers.remaining)} />
      {vouchers.frozen > 0 ? <Figure name="On hold" value={formatCount(vouchers.frozen)} /> : null}
      {vouchers.deactivated > 0 ? (
        <Figure name="Switched off" value={formatCount(vouchers.deactivated)} />
      ) : null}
    </dl>
  )
}

function Facts({ scope, purchase }: { scope: PortalScope; purchase: Purchase }) {
  const { currency } = purchase
  const recorded = purchase.recorded_payment
  return (
    <section className="card stack">
      <h2>Details</h2>
      <dl className="facts">
        <dt>Ordered</dt>
        <dd>
          <When at={purchase.created_at} />
          {purchase.requested_by_name === null ? null : ` by ${purchase.requested_by_name}`}
        </dd>
        {purchase.reference === null ? null : (
          <>
            <dt>Your reference</dt>
            <dd>{purchase.reference}</dd>
          </>
        )}
        <dt>Codes</dt>
        <dd>{formatCount(purchase.quantity)}</dd>
        <dt>Price of a code</dt>
        <dd>
          {purchase.unit_amount === 0 ? (
            'Free'
          ) : (
            <Money amount={purchase.unit_amount} currency={currency} />
          )}
        </dd>
        {purchase.total_amount === 0 ? null : (
          <>
            <dt>Total</dt>
            <dd>
              <Money amount={purchase.total_amount} currency={currency} />
            </dd>
          </>
        )}
        {purchase.amount_received === 0 ? null : (
          <>
            <dt>Paid</dt>
            <dd>
              <Money amount={purchase.amount_received} currency={currency} />
              {recorded === null ? null : ` by ${METHODS[recorded.method]} (${recorded.reference})`}
            </dd>
          </>
        )}
        {purchase.amount_refunded === 0 ? null : (
          <>
            <dt>Returned to you</dt>
            <dd>
              <Money amount={purchase.amount_refunded} currency={currency} />
            </dd>
          </>
        )}
        <dt>Worth</dt>
        <dd>{termsSentence(purchase.voucher_config, currency)}</dd>
        <dt>Number</dt>
        <dd>
          <code>{purchase.id}</code>
        </dd>
        {purchase.amount_received === 0 ? null : <Documents scope={scope} purchase={purchase} />}
      </dl>
    </section>
  )
}

const METHODS: Record<NonNullable<Purchase['recorded_payment']>['method'], string> = {
  bank_transfer: 'bank transfer',
  cheque: 'cheque',
  cash: 'cash',
  other: 'another way',
}

/** Stripe's receipts and invoices. One of a new payment appears some seconds later. */
function Documents({
  scope: { conference },
  purchase,
}: {
  scope: PortalScope
  purchase: Purchase
}) {
  const documents = useQuery({
    queryKey: ['purchases', conference, purchase.id, 'documents', purchase.updated_at],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/purchases/{purchase}/documents', {
          params: { path: { conference, purchase: purchase.id } },
        }),
      ),
    refetchInterval: ({ state }) => (state.data?.data.length === 0 ? 10_000 : false),
    placeholderData: (before) => before,
  })
  const found = documents.data?.data ?? []
  if (found.length === 0) return null
  return (
    <>
      <dt>Documents</dt>
      <dd>
        <ul className="plain-list">
          {found.map(({ kind, number, url, pdf }) => (
            <li key={url} className="row">
              <a href={url} target="_blank" rel="noreferrer">
                {kind === 'receipt' ? 'Receipt' : 'Invoice'}
                {number === null ? '' : ` ${number}`}
              </a>
              {pdf === null ? null : (
                <a href={pdf} target="_blank" rel="noreferrer">
                  PDF
                </a>
              )}
            </li>
          ))}
        </ul>
      </dd>
    </>
  )
}

function History({
  purchase,
  transitions,
}: {
  purchase: Purchase
  transitions: readonly Transition[]
}) {
  const told = transitions.flatMap((each) => {
    const text = historySentence(each, purchase)
    return text === null ? [] : [{ id: each.id, at: each.created_at, text }]
  })
  return (
    <section className="card stack">
      <h2>What happened</h2>
      <ol className="timeline">
        {told.map(({ id, at, text }) => (
          <li key={id}>
            <div>{text}</div>
            <span className="hint">
              <When at={at} />
            </span>
          </li>
        ))}
        <li>
          <div>The purchase was made.</div>
          <span className="hint">
            <When at={purchase.created_at} />
          </span>
        </li>
      </ol>
    </section>
  )
}
