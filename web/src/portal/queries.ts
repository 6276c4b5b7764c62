import { useQuery } from '@tanstack/react-query'
import { api, dataOf } from '../api/client.ts'
import type { PortalScope } from './scope.ts'

/** What can be ordered at once, and how it can be paid. */
export function usePurchaseOptions({ conference }: PortalScope) {
  return useQuery({
    queryKey: ['purchase-options', conference],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/purchase-options', {
          params: { path: { conference } },
        }),
      ),
    staleTime: 60_000,
  })
}

/** The pages to which Stripe's payment page returns: those of the purchase. */
function returnUrls({ conference }: PortalScope, purchase: string) {
  const page = `${location.origin}/portal/${conference}/purchases/${purchase}`
  return { success_url: `${page}?from=checkout`, cancel_url: page }
}

/** Opens the payment page. The same purchase gets the same page. */
export function openCheckout(scope: PortalScope, purchase: string) {
  const { conference } = scope
  return dataOf(
    api.POST('/v1/conferences/{conference}/purchases/{purchase}/checkout', {
      params: { path: { conference, purchase } },
      body: returnUrls(scope, purchase),
    }),
  )
}
