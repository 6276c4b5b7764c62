import { useQuery } from '@tanstack/react-query'
import { api, dataOf, type Schema } from '../api/client.ts'
import type { ListUrl } from '../ui/list-url.ts'

export type Purchase = Schema<'Purchase'>

type State = Purchase['status']
type Flag = Purchase['flags'][number]['code']
type Sort = 'newest' | 'oldest'

export const STATES: readonly State[] = ['PENDING', 'PROCESSING', 'PAID', 'FAILED', 'REFUNDED']

/** What staff must decide, in words. */
export const FLAGS: Record<Flag, string> = {
  amount_mismatch: 'Another amount',
  overpaid: 'Paid twice',
  refund_failed: 'Refund failed',
  dispute: 'Dispute',
  too_few_unredeemed: 'Codes used that were refunded',
  early_fraud_warning: 'Fraud warning',
}

export const FILTER_NAMES = ['status', 'sponsor', 'ticket_type', 'flag', 'from', 'to', 'q'] as const

/** The beginning of a day, `2027-03-01`, in the reader's zone, plus some days. */
function startOfDay(day: string, plus = 0): string | undefined {
  const [year = Number.NaN, month = Number.NaN, date = Number.NaN] = day.split('-').map(Number)
  const start = new Date(year, month - 1, date + plus)
  return Number.isNaN(start.getTime()) ? undefined : start.toISOString()
}

/** The filters and the order in the URL, as the API takes them. Days are days of the reader. */
export function filtersOf(url: Pick<ListUrl, 'get'>) {
  const from = url.get('from')
  const to = url.get('to')
  // The service checks the values: a link may hold anything.
  return {
    status: url.get('status') as State | undefined,
    flag: url.get('flag') as Flag | 'any' | undefined,
    sponsor: url.get('sponsor'),
    ticket_type: url.get('ticket_type'),
    q: url.get('q'),
    sort: url.get('sort') as Sort | undefined,
    created_after: from === undefined ? undefined : startOfDay(from),
    created_before: to === undefined ? undefined : startOfDay(to, 1),
  }
}

/** The page of purchases that the URL names. */
export function usePurchases(conference: string, url: ListUrl) {
  const query = { ...filtersOf(url), cursor: url.cursor, limit: 50 }
  return useQuery({
    queryKey: ['purchases', conference, query],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/purchases', {
          params: { path: { conference }, query },
        }),
      ),
    placeholderData: (before) => before,
    refetchInterval: 15_000,
  })
}
