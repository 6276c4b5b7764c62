import { Money } from '../ui/data.tsx'
import { formatCount, formatMoney } from '../ui/format.ts'

/** What an order costs, read aloud when it changes. */
export function Total({
  price,
  quantity,
  currency,
}: {
  /** Of one code; null while nothing is chosen. */
  price: number | null
  /** NaN while the field is empty. */
  quantity: number
  currency: string
}) {
  const total = price === null || Number.isNaN(quantity) ? null : price * quantity
  return (
    <div className="total" aria-live="polite">
      <span>Total</span>
      <strong>
        {total === null ? '–' : total === 0 ? 'Free' : <Money amount={total} currency={currency} />}
      </strong>
      {total === null || total === 0 || price === null ? null : (
        <span className="hint">
          {formatCount(quantity)} × {formatMoney(price, currency)}
        </span>
      )}
    </div>
  )
}
