/** What a staff key may be allowed to do. An operator may do all of it; a sponsor key has none. */
export const SCOPES = [
  'settings:write',
  'keys:write',
  'catalog:write',
  'purchases:read',
  'purchases:write',
  'refunds:write',
  'vouchers:read',
  'vouchers:write',
  'vouchers:redeem',
  'stripe:sync',
  'billing:write',
] as const

export type Scope = (typeof SCOPES)[number]

/**
 * Who may call a route. Every route names its rule (`config: { access }`); the server refuses to
 * start with one that does not.
 *
 * - `public`: nobody is asked for a key. `stripe`: the signature is the key.
 * - `operator`: the platform only.
 * - `staff`: any staff key of the conference, or an operator.
 * - `{ anyOf, sponsor }`: a staff key with one of the scopes, or an operator; and, where `sponsor`
 *   is true, a sponsor key, whose handler shows it only its own.
 */
export type AccessRule =
  | 'public'
  | 'stripe'
  | 'operator'
  | 'staff'
  | { anyOf: readonly [Scope, ...Scope[]]; sponsor?: boolean }

/** Who is calling, from the API key. */
export type Principal =
  | { role: 'operator'; keyId: string }
  | { role: 'staff'; keyId: string; conferenceId: string; scopes: readonly Scope[] }
  | { role: 'sponsor'; keyId: string; conferenceId: string; sponsorId: string }

/** Null when the rule lets the principal pass, else the reason in words for the 403. */
export function refusalOf(rule: AccessRule, principal: Principal): string | null {
  if (rule === 'public' || rule === 'stripe' || principal.role === 'operator') return null
  if (rule === 'operator') return 'Only the operator may do that.'
  if (rule === 'staff') return principal.role === 'staff' ? null : 'Only staff may do that.'
  if (principal.role === 'sponsor')
    return rule.sponsor === true ? null : 'A sponsor may not do that.'
  if (rule.anyOf.some((scope) => principal.scopes.includes(scope))) return null
  return `This key needs the scope ${rule.anyOf.join(' or ')}.`
}
