import { useQuery } from '@tanstack/react-query'
import { toast } from '../ui/toasts.tsx'
import { ApiError, api, dataOf, type Schema } from './client.ts'

export type Me = Schema<'Me'>
export type Access = Me['access'][number]

/** Who is signed in, and what this person may use. */
export function useMe() {
  return useQuery({ queryKey: ['me'], queryFn: () => dataOf(api.GET('/v1/me')), staleTime: 60_000 })
}

/** Whether somebody with this access may do what needs the scope. */
export function hasScope(access: Access, scope: Schema<'Scope'>): boolean {
  return access.role === 'operator' || access.scopes.includes(scope)
}

export async function signOut(): Promise<void> {
  try {
    await api.DELETE('/v1/sessions/{id}', { params: { path: { id: 'current' } } })
  } catch (error) {
    // On a shared computer, "signed out" must be true.
    if (!(error instanceof ApiError)) throw error
    // 401: the session has ended before.
    if (error.status !== 401) {
      toast({ text: `You are still signed in. ${error.message}`, kind: 'error' })
      return
    }
  }
  location.assign('/sign-in')
}

/** The first page of somebody: staff work in the console, sponsors in the portal. */
export function homeOf({ access }: Me): string | null {
  const staff = access.find(({ role }) => role !== 'sponsor')
  if (staff !== undefined) {
    return staff.conference === null ? '/console' : `/console/${staff.conference.slug}`
  }
  const [sponsor] = access
  return sponsor?.conference == null ? null : `/portal/${sponsor.conference.slug}`
}
