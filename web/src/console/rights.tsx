import type { ApiError, Schema } from '../api/client.ts'
import { SelectField } from '../ui/choices.tsx'
import { CheckboxField } from '../ui/form.tsx'
import { useSponsors } from './names.ts'
import type { ConsoleScope } from './scope.ts'

type Scope = Schema<'Scope'>

/** What each scope lets staff do, in the order in which people think of them. */
const SCOPES: readonly { scope: Scope; label: string; hint: string }[] = [
  { scope: 'purchases:read', label: 'See purchases', hint: 'And reports.' },
  {
    scope: 'purchases:write',
    label: 'Change purchases',
    hint: 'Order for sponsors, set prices, approve free ones, record bank transfers.',
  },
  { scope: 'refunds:write', label: 'Refund', hint: 'Send money back and record what was sent.' },
  {
    scope: 'vouchers:read',
    label: 'See vouchers',
    hint: 'With their codes, which are worth money.',
  },
  {
    scope: 'vouchers:write',
    label: 'Change vouchers',
    hint: 'Issue free codes, assign, deactivate and activate.',
  },
  {
    scope: 'vouchers:redeem',
    label: 'Redeem at the door',
    hint: 'Check, redeem and release single codes.',
  },
  { scope: 'catalog:write', label: 'Change the catalogue', hint: 'And sponsors and their levels.' },
  {
    scope: 'keys:write',
    label: 'Manage users and keys',
    hint: 'Can grant only what the person has too.',
  },
  {
    scope: 'settings:write',
    label: 'Change settings',
    hint: 'Name, origins, Stripe’s webhook and outbound webhooks.',
  },
  {
    scope: 'stripe:sync',
    label: 'Use the Stripe mirror',
    hint: 'See Stripe’s objects and events, sync and repair.',
  },
  {
    scope: 'billing:write',
    label: 'Change billing',
    hint: 'Customers, saved cards, charges, plans, coupons.',
  },
]

const LABELS = new Map(SCOPES.map(({ scope, label }) => [scope, label]))

/** Rights in a few words: `See purchases, Refund`. */
const rightsOf = (scopes: readonly Scope[]): string =>
  scopes.length === SCOPES.length
    ? 'Everything'
    : SCOPES.flatMap(({ scope }) => (scopes.includes(scope) ? [LABELS.get(scope)] : [])).join(', ')

/** A choice of scopes, each with what it allows. Nobody can grant what they lack. */
export function ScopeFields({
  access,
  value,
  onChange,
}: {
  access: ConsoleScope
  value: readonly Scope[]
  onChange: (scopes: Scope[]) => void
}) {
  return (
    <fieldset className="fields">
      <legend>May</legend>
      {SCOPES.map(({ scope, label, hint }) => (
        <CheckboxField
          key={scope}
          value={value.includes(scope)}
          // What somebody has already may be taken away by everybody who manages users.
          isDisabled={!access.may(scope) && !value.includes(scope)}
          onChange={(isOn) =>
            onChange(isOn ? [...value, scope] : value.filter((each) => each !== scope))
          }
          label={
            <span>
              {label}
              <br />
              <span className="hint">{hint}</span>
            </span>
          }
        />
      ))}
    </fieldset>
  )
}

type Role = 'staff' | 'sponsor'

/** What a new user or key may do, as people choose it. */
export type Grant = { role: Role; sponsor: string | null; scopes: Scope[] }

export const NO_RIGHTS: Grant = { role: 'staff', sponsor: null, scopes: [] }

export const isComplete = ({ role, sponsor }: Grant) => role === 'staff' || sponsor !== null

/** For the API. */
export const grantOf = ({ role, sponsor, scopes }: Grant) => ({
  role,
  ...(role === 'staff' ? { scopes } : { sponsor: sponsor ?? '' }),
})

/** What users and keys may do, in a few words. */
export function useRights(access: ConsoleScope) {
  const { data: sponsors = [] } = useSponsors(access)
  return ({ role, sponsor, scopes }: { role: string; sponsor: string | null; scopes: Scope[] }) =>
    role === 'sponsor'
      ? `Buy for ${sponsors.find(({ id }) => id === sponsor)?.name ?? 'a sponsor'}`
      : rightsOf(scopes) || 'Nothing yet'
}

/** A choice between the rights of staff and those of one sponsor. */
export function GrantFields({
  access,
  label,
  roles,
  grant,
  onChange,
  error,
}: {
  access: ConsoleScope
  label: string
  roles: readonly { key: Role; label: string; hint?: string }[]
  grant: Grant
  onChange: (grant: Grant) => void
  error: ApiError | null
}) {
  const { data: sponsors = [] } = useSponsors(access)
  return (
    <>
      <SelectField
        label={label}
        name="role"
        value={grant.role}
        onChange={(role) => onChange({ ...grant, role })}
        error={error}
        options={roles}
      />
      {grant.role === 'sponsor' ? (
        <SelectField
          label="Sponsor"
          name="sponsor"
          isRequired
          value={grant.sponsor}
          onChange={(sponsor) => onChange({ ...grant, sponsor })}
          error={error}
          options={sponsors.map(({ id, name }) => ({ key: id, label: name }))}
        />
      ) : (
        <ScopeFields
          access={access}
          value={grant.scopes}
          onChange={(scopes) => onChange({ ...grant, scopes })}
        />
      )}
    </>
  )
}
