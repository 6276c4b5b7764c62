import { type QueryKey, type UseQueryResult, useQueries, useQuery } from '@tanstack/react-query'
import { api, dataOf, type Schema } from '../api/client.ts'
import { purchasesKey } from './purchase-data.ts'
import type { Purchase } from './purchase-list.ts'
import type { ConsoleScope } from './scope.ts'

export type FailedEvent = Schema<'StripeEvent'>
export type Delivery = Schema<'WebhookDelivery'>
export type Endpoint = Schema<'WebhookEndpoint'>
export type Dispute = Schema<'MirroredDispute'>

const REFRESH_MS = 30_000
/** As many as a list shows. */
const LIMIT = 100

/** A payment page is open for at most a day, and a bank payment that takes longer is worth a look. */
const STUCK_AFTER_MS = 86_400_000

export const eventsKey = (conference: string): QueryKey => ['stripe-events', conference]
export const deliveriesKey = (conference: string): QueryKey => ['deliveries', conference]

/** A list that only some people may read: for the others it is empty. */
function useList<Row>(queryKey: QueryKey, isAllowed: boolean, fetchRows: () => Promise<Row[]>) {
  return useQuery({
    queryKey,
    queryFn: fetchRows,
    enabled: isAllowed,
    refetchInterval: REFRESH_MS,
  })
}

type Query = { flag?: 'any'; status?: 'PROCESSING'; created_before?: string }

async function fetchPurchases(conference: string, query: Query): Promise<Purchase[]> {
  const page = await dataOf(
    api.GET('/v1/conferences/{conference}/purchases', {
      params: { path: { conference }, query: { limit: LIMIT, ...query } },
    }),
  )
  return page.data
}

async function fetchStuck(conference: string): Promise<Purchase[]> {
  const before = new Date(Date.now() - STUCK_AFTER_MS).toISOString()
  const old = await fetchPurchases(conference, { status: 'PROCESSING', created_before: before })
  // A retry of an old order is not stuck.
  return old.filter(({ updated_at: at }) => at < before)
}

async function fetchFailedEvents(conference: string): Promise<FailedEvent[]> {
  const page = await dataOf(
    api.GET('/v1/conferences/{conference}/stripe/events', {
      params: { path: { conference }, query: { status: 'failed', limit: LIMIT } },
    }),
  )
  return page.data
}

/** The disputes that wait for an answer, the most urgent first. */
async function fetchDisputes(conference: string): Promise<Dispute[]> {
  const pages = await Promise.all(
    ['needs_response', 'warning_needs_response'].map((status) =>
      dataOf(
        api.GET('/v1/conferences/{conference}/stripe/{resource}', {
          params: { path: { conference, resource: 'disputes' }, query: { status, limit: LIMIT } },
        }),
      ),
    ),
  )
  const disputes = pages.flatMap(({ data }) => data as Dispute[])
  const due = ({ evidence_due_by: by }: Dispute) => by ?? '9999'
  return disputes.toSorted((one, other) => due(one).localeCompare(due(other)))
}

/** Failed deliveries of outbound webhooks, with their endpoints. */
function useFailedDeliveries({ conference, may }: ConsoleScope) {
  const endpoints = useList<Endpoint>(
    ['webhook-endpoints', conference, 'all'],
    may('settings:write'),
    async () => {
      const page = await dataOf(
        api.GET('/v1/conferences/{conference}/webhook-endpoints', {
          params: { path: { conference }, query: { limit: LIMIT } },
        }),
      )
      return page.data
    },
  )
  return useQueries({
    queries: (endpoints.data ?? []).map((endpoint) => ({
      queryKey: [...deliveriesKey(conference), endpoint.id, 'failed'],
      refetchInterval: REFRESH_MS,
      queryFn: async () => {
        const page = await dataOf(
          api.GET('/v1/conferences/{conference}/webhook-endpoints/{id}/deliveries', {
            params: {
              path: { conference, id: endpoint.id },
              query: { state: 'failed', limit: LIMIT },
            },
          }),
        )
        return page.data.map((delivery) => ({ ...delivery, url: endpoint.url }))
      },
    })),
    combine: (lists) => ({
      rows: lists.flatMap(({ data }) => data ?? []),
      isLoading: endpoints.isLoading || lists.some(({ isLoading }) => isLoading),
      error: endpoints.error ?? lists.find(({ error }) => error !== null)?.error ?? null,
    }),
  })
}

/** Everything that waits for staff, as far as the person may see it. */
export function useAttention(scope: ConsoleScope) {
  const { conference, may } = scope
  const key = purchasesKey(conference)
  const reads = may('purchases:read')
  const syncs = may('stripe:sync')
  const flagged = useList([...key, 'flagged'], reads, () =>
    fetchPurchases(conference, { flag: 'any' }),
  )
  const stuck = useList([...key, 'stuck'], reads, () => fetchStuck(conference))
  const events = useList([...eventsKey(conference), 'failed'], syncs, () =>
    fetchFailedEvents(conference),
  )
  const disputes = useList(['disputes', conference, 'open'], syncs, () => fetchDisputes(conference))
  const deliveries = useFailedDeliveries(scope)
  const lists: UseQueryResult<unknown[]>[] = [flagged, stuck, events, disputes]
  return {
    flagged: flagged.data ?? [],
    stuck: stuck.data ?? [],
    events: events.data ?? [],
    disputes: disputes.data ?? [],
    deliveries: deliveries.rows,
    isLoading: deliveries.isLoading || lists.some(({ isLoading }) => isLoading),
    error: lists.find(({ error }) => error !== null)?.error ?? deliveries.error,
    /** How many things wait. */
    count: lists.reduce((sum, { data }) => sum + (data?.length ?? 0), deliveries.rows.length),
  }
}

export type Attention = ReturnType<typeof useAttention>
