import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { api, dataOf, type Schema } from '../api/client.ts'
import type { Purchase } from './purchase-list.ts'
import type { ConsoleScope } from './scope.ts'

export type Payments = Schema<'PurchasePayments'>
export type Transition = Schema<'PurchaseTransition'>

/** What a dialog of an action gets. */
export type ActionProps = { scope: ConsoleScope; purchase: Purchase; onClose: () => void }

/** Others work on the same purchase. */
const REFRESH_MS = 5_000
/** A payer is paying. */
const REFRESH_PROCESSING_MS = 2_000

/** The beginning of the keys of everything about purchases: each write changes some of it. */
export const purchasesKey = (conference: string) => ['purchases', conference] as const

export function usePurchase(conference: string, purchase: string) {
  return useQuery({
    queryKey: [...purchasesKey(conference), purchase],
    queryFn: (): Promise<Purchase> =>
      dataOf(
        api.GET('/v1/conferences/{conference}/purchases/{purchase}', {
          params: { path: { conference, purchase } },
        }),
      ),
    refetchInterval: ({ state }) =>
      state.data?.status === 'PROCESSING' ? REFRESH_PROCESSING_MS : REFRESH_MS,
  })
}

export function usePayments(conference: string, purchase: string) {
  return useQuery({
    queryKey: [...purchasesKey(conference), purchase, 'payments'],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/purchases/{purchase}/payments', {
          params: { path: { conference, purchase } },
        }),
      ),
    refetchInterval: REFRESH_MS,
  })
}

/** What happened, newest first. */
export function useTransitions(conference: string, purchase: string) {
  return useInfiniteQuery({
    queryKey: [...purchasesKey(conference), purchase, 'transitions'],
    queryFn: ({ pageParam: cursor }) =>
      dataOf(
        api.GET('/v1/conferences/{conference}/purchases/{purchase}/transitions', {
          params: { path: { conference, purchase }, query: { cursor, limit: 50 } },
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: ({ next_cursor: next }) => next ?? undefined,
    refetchInterval: REFRESH_MS,
  })
}
