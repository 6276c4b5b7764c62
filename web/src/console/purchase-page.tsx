import type { ReactNode } from 'react'
import { Link } from 'wouter'
import { CopyButton, Figure, Money, StateBadge, When } from '../ui/data.tsx'
import { Loaded } from '../ui/feedback.tsx'
import { plural } from '../ui/format.ts'
import { PageHead } from '../ui/shell.tsx'
import { PurchaseActions } from './purchase-actions.tsx'
import { usePurchase } from './purchase-data.ts'
import { Flags } from './purchase-flags.tsx'
import type { Purchase } from './purchase-list.ts'
import { PurchasePayments } from './purchase-payments.tsx'
import { Timeline } from './purchase-timeline.tsx'
import type { ConsoleScope } from './scope.ts'
import { benefitOf } from './voucher-verdict.ts'

/** Everything about one purchase, and what staff can do with it. */
export function PurchasePage({ scope, id }: { scope: ConsoleScope; id: string }) {
  const purchase = usePurchase(scope.conference, id)
  return (
    <Loaded query={purchase} lines={10}>
      {(found) => <Found scope={scope} purchase={found} />}
    </Loaded>
  )
}

function Found({ scope, purchase }: { scope: ConsoleScope; purchase: Purchase }) {
  const { sponsor_name: sponsor, description, status, failure } = purchase
  return (
    <>
      <PageHead title={sponsor === null ? description : `${sponsor}: ${description}`}>
        <StateBadge state={status} />
      </PageHead>
      <PurchaseActions scope={scope} purchase={purchase} />
      <Flags scope={scope} purchase={purchase} />
      {failure === null ? null : (
        <p className="note note-warn">
          <strong>Why it failed</strong>
          <span>
            {failure.message} <span className="muted">({failure.code})</span>
          </span>
        </p>
      )}
      <div className="grid">
        <Order purchase={purchase} />
        <div className="stack">
          <Amounts purchase={purchase} />
          <Vouchers scope={scope} purchase={purchase} />
        </div>
      </div>
      <PurchasePayments scope={scope} purchase={purchase} />
      <Timeline scope={scope} purchase={purchase} />
    </>
  )
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  )
}

function Order({ purchase }: { purchase: Purchase }) {
  const { currency, voucher_config: terms } = purchase
  return (
    <section className="card stack">
      <h2>Order</h2>
      <dl className="facts">
        <Fact name="Item">{purchase.ticket_name ?? purchase.description}</Fact>
        <Fact name="Price">
          {plural(purchase.quantity, 'code')} at{' '}
          <Money amount={purchase.unit_amount} currency={currency} />
        </Fact>
        <Fact name="A code gives">
          {benefitOf(terms, currency)}
          {terms.max_uses === 1 ? '' : `, ${plural(terms.max_uses, 'use')} each`}
        </Fact>
        {terms.valid_from === null && terms.valid_until === null ? null : (
          <Fact name="Valid">
            <When at={terms.valid_from} /> until <When at={terms.valid_until} />
          </Fact>
        )}
        <Fact name="Reference">{purchase.reference ?? <span className="muted">–</span>}</Fact>
        <Fact name="Ordered">
          <When at={purchase.created_at} /> by {purchase.requested_by_name ?? 'unknown'}
        </Fact>
        {purchase.paid_at === null ? null : (
          <Fact name="Paid">
            <When at={purchase.paid_at} />
            {purchase.approved_by === null
              ? null
              : `, approved by ${purchase.approved_by_name ?? 'unknown'}`}
          </Fact>
        )}
        {purchase.refunded_at === null ? null : (
          <Fact name="Refunded">
            <When at={purchase.refunded_at} />
          </Fact>
        )}
        <Fact name="Id">
          <span className="row">
            <code>{purchase.id}</code>
            <CopyButton text={purchase.id} />
          </span>
        </Fact>
      </dl>
    </section>
  )
}

function Amounts({ purchase }: { purchase: Purchase }) {
  const { currency, amount_received: received, amount_refunded: refunded } = purchase
  const money = (amount: number) => <Money amount={amount} currency={currency} />
  return (
    <section className="card stack">
      <h2>Money</h2>
      <dl className="figures">
        <Figure name="Total" value={money(purchase.total_amount)} />
        <Figure name="Received" value={money(received)} />
        {refunded === 0 ? null : <Figure name="Refunded" value={money(refunded)} />}
      </dl>
    </section>
  )
}

function Vouchers({ scope, purchase }: { scope: ConsoleScope; purchase: Purchase }) {
  const { issued, redeemed, remaining, frozen, deactivated } = purchase.vouchers
  return (
    <section className="card stack">
      <div className="row row-apart">
        <h2>Codes</h2>
        {scope.may('vouchers:read') && issued > 0 ? (
          <Link href={`/vouchers?q=${purchase.id}`}>Show the codes</Link>
        ) : null}
      </div>
      {issued === 0 ? (
        <p className="muted">No codes are issued yet.</p>
      ) : (
        <dl className="figures">
          <Figure name="Issued" value={issued} />
          <Figure name="Used" value={redeemed} />
          <Figure name="Left" value={remaining} />
          {frozen === 0 ? null : <Figure name="Frozen" value={frozen} />}
          {deactivated === 0 ? null : <Figure name="Off" value={deactivated} />}
        </dl>
      )}
    </section>
  )
}
