import { useQuery } from '@tanstack/react-query'
import { allPages } from '../api/all-pages.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import type { ConsoleScope } from './scope.ts'

export type CatalogueItem = Schema<'TicketType'> | Schema<'AddOn'>
export type CatalogueKind = CatalogueItem['object']

/** Names change rarely. */
const staleTime = 60_000

/** The ticket types of a conference, sorted by name. */
export function useTicketTypes({ conference }: ConsoleScope) {
  return useQuery({
    queryKey: ['ticket-types', conference],
    staleTime,
    queryFn: async () =>
      byName(
        await allPages((cursor) =>
          dataOf(
            api.GET('/v1/conferences/{conference}/ticket-types', {
              params: { path: { conference }, query: { limit: 100, cursor } },
            }),
          ),
        ),
      ),
  })
}

/** The add-ons of a conference, sorted by name. */
export function useAddOns({ conference }: ConsoleScope) {
  return useQuery({
    queryKey: ['add-ons', conference],
    staleTime,
    queryFn: async () =>
      byName(
        await allPages((cursor) =>
          dataOf(
            api.GET('/v1/conferences/{conference}/add-ons', {
              params: { path: { conference }, query: { limit: 100, cursor } },
            }),
          ),
        ),
      ),
  })
}

/** The levels of sponsors, sorted by name. For staff with the scope `catalog:write`. */
export function useLevels({ conference, may }: ConsoleScope) {
  return useQuery({
    queryKey: ['sponsor-levels', conference],
    staleTime,
    enabled: may('catalog:write'),
    queryFn: async () =>
      byName(
        await allPages((cursor) =>
          dataOf(
            api.GET('/v1/conferences/{conference}/sponsor-levels', {
              params: { path: { conference }, query: { limit: 100, cursor } },
            }),
          ),
        ),
      ),
  })
}

const byName = <T extends { name: string }>(rows: T[]): T[] =>
  rows.toSorted((one, other) => one.name.localeCompare(other.name))

/** The name of what a voucher is for; null while it loads, or if it is for anything. */
export function useItemName(
  scope: ConsoleScope,
  { ticket_type, add_on }: { ticket_type: string | null; add_on: string | null },
): string | null {
  const { data: ticketTypes = [] } = useTicketTypes(scope)
  const { data: addOns = [] } = useAddOns(scope)
  return (
    ticketTypes.find(({ id }) => id === ticket_type)?.name ??
    addOns.find(({ id }) => id === add_on)?.name ??
    null
  )
}

/** The sponsors of a conference, sorted by name. For staff who may find them. */
export function useSponsors({ conference, may }: ConsoleScope) {
  return useQuery({
    queryKey: ['sponsors', conference, 'all'],
    staleTime,
    enabled: (['catalog:write', 'purchases:read', 'vouchers:write', 'keys:write'] as const).some(
      may,
    ),
    queryFn: async () =>
      byName(
        await allPages((cursor) =>
          dataOf(
            api.GET('/v1/conferences/{conference}/sponsors', {
              params: { path: { conference }, query: { limit: 100, cursor } },
            }),
          ),
        ),
      ),
  })
}
