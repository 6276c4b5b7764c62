import { useQuery } from '@tanstack/react-query'
import { lazy, Suspense } from 'react'
import { Redirect, Route, Switch } from 'wouter'
import { api, dataOf, type Schema } from '../api/client.ts'
import { type Access, hasScope, type Me, useMe } from '../api/session.ts'
import { Empty, Loaded, Loading } from '../ui/feedback.tsx'
import { NoAccess, Shell } from '../ui/shell.tsx'
import { useAttention } from './attention-data.ts'
import type { ConsoleScope } from './scope.ts'

const Platform = lazy(async () => ({ default: (await import('./platform.tsx')).Platform }))
const Purchases = lazy(async () => ({ default: (await import('./purchases.tsx')).Purchases }))
const AttentionPage = lazy(async () => ({
  default: (await import('./attention.tsx')).AttentionPage,
}))
const PurchasePage = lazy(async () => ({
  default: (await import('./purchase-page.tsx')).PurchasePage,
}))
const NewPurchase = lazy(async () => ({
  default: (await import('./new-purchase.tsx')).NewPurchase,
}))
const Vouchers = lazy(async () => ({ default: (await import('./vouchers.tsx')).Vouchers }))
const AuditLog = lazy(async () => ({ default: (await import('./audit-log.tsx')).AuditLog }))
const People = lazy(async () => ({ default: (await import('./people.tsx')).People }))
const Catalogue = lazy(async () => ({ default: (await import('./catalogue.tsx')).Catalogue }))
const Payouts = lazy(async () => ({ default: (await import('./payouts.tsx')).Payouts }))
const PayoutPage = lazy(async () => ({ default: (await import('./payouts.tsx')).PayoutPage }))
const Reports = lazy(async () => ({ default: (await import('./reports.tsx')).Reports }))
const Settings = lazy(async () => ({ default: (await import('./settings.tsx')).Settings }))
const StripeMirror = lazy(async () => ({
  default: (await import('./stripe-mirror.tsx')).StripeMirror,
}))
const MirroredObject = lazy(async () => ({
  default: (await import('./mirrored-object.tsx')).MirroredObject,
}))
const Sponsors = lazy(async () => ({ default: (await import('./sponsors.tsx')).Sponsors }))
const VoucherPage = lazy(async () => ({ default: (await import('./vouchers.tsx')).VoucherPage }))

/** `/console/{conference}/…`: the work of staff. */
export function Console() {
  const me = useMe()
  return (
    <Loaded query={me}>
      {(person) => {
        const { access, email } = person
        const operator = access.find(({ role }) => role === 'operator')
        const staff = access.filter(({ role }) => role === 'staff')
        if (operator === undefined && staff.length === 0) return <NotStaff me={person} />
        return (
          <Switch>
            <Route path="/console/:conference" nest>
              {({ conference }) => {
                const own = operator ?? staff.find((each) => each.conference?.slug === conference)
                if (own === undefined) return <NotStaff me={person} />
                return <OfConference slug={conference} access={own} email={email} />
              }}
            </Route>
            <Route path="/console">
              {operator !== undefined ? (
                <Shell home="~/console" title="Voucher console" nav={[]} email={email}>
                  <Suspense fallback={<Loading />}>
                    <Platform email={email} />
                  </Suspense>
                </Shell>
              ) : (
                <Redirect to={`/console/${staff[0]?.conference?.slug ?? ''}`} replace />
              )}
            </Route>
          </Switch>
        )
      }}
    </Loaded>
  )
}

function OfConference({
  slug,
  access,
  email,
}: {
  slug: string
  access: Access
  email: string | null
}) {
  const conference = useQuery({
    queryKey: ['conference', slug],
    queryFn: () =>
      dataOf(api.GET('/v1/conferences/{conference}', { params: { path: { conference: slug } } })),
    staleTime: 60_000,
  })
  return (
    <Loaded query={conference}>
      {({ name, currency, stripe_dashboard: dashboard }) => {
        const scope: ConsoleScope = {
          conference: slug,
          name,
          currency,
          dashboard,
          may: (needed) => hasScope(access, needed),
          isOperator: access.role === 'operator',
        }
        return <Frame scope={scope} access={access} email={email} />
      }}
    </Loaded>
  )
}

function Frame({
  scope,
  access,
  email,
}: {
  scope: ConsoleScope
  access: Access
  email: string | null
}) {
  const { count } = useAttention(scope)
  return (
    <Shell
      home="/"
      title={scope.name}
      nav={navOf(scope).map((page) => (page.href === ATTENTION ? { ...page, count } : page))}
      email={email}
      extra={access.role === 'operator' ? <a href="/console">All conferences</a> : null}
    >
      <Pages scope={scope} />
    </Shell>
  )
}

const ATTENTION = '/attention'

const PAGES: readonly {
  href: string
  label: string
  /** One of them opens the page. */
  scopes: readonly Schema<'Scope'>[]
}[] = [
  {
    href: ATTENTION,
    label: 'Attention',
    scopes: ['purchases:read', 'stripe:sync', 'settings:write'],
  },
  { href: '/purchases', label: 'Purchases', scopes: ['purchases:read'] },
  { href: '/vouchers', label: 'Vouchers', scopes: ['vouchers:read', 'vouchers:redeem'] },
  { href: '/sponsors', label: 'Sponsors', scopes: ['catalog:write', 'purchases:read'] },
  { href: '/catalogue', label: 'Catalogue', scopes: ['catalog:write', 'purchases:read'] },
  { href: '/reports', label: 'Reports', scopes: ['purchases:read'] },
  { href: '/people', label: 'Users and keys', scopes: ['keys:write'] },
  { href: '/stripe', label: 'Stripe', scopes: ['stripe:sync'] },
  { href: '/settings', label: 'Settings', scopes: ['settings:write', 'stripe:sync'] },
]

/** The pages that the person may open. */
function navOf({ may }: ConsoleScope) {
  return PAGES.filter(({ scopes }) => scopes.some(may))
}

function Pages({ scope }: { scope: ConsoleScope }) {
  const first = navOf(scope).find(({ href }) => href !== ATTENTION)
  return (
    <Suspense fallback={<Loading />}>
      <Switch>
        <Route path="/">
          <Start scope={scope} otherwise={first?.href ?? ATTENTION} />
        </Route>
        <Route path={ATTENTION}>
          <AttentionPage scope={scope} />
        </Route>
        <Route path="/purchases">
          <Purchases scope={scope} />
        </Route>
        <Route path="/purchases/new">
          <NewPurchase scope={scope} />
        </Route>
        <Route path="/purchases/:id">{({ id }) => <PurchasePage scope={scope} id={id} />}</Route>
        <Route path="/vouchers">
          <Vouchers scope={scope} />
        </Route>
        <Route path="/vouchers/:code">
          {({ code }) => <VoucherPage scope={scope} code={code} />}
        </Route>
        <Route path="/sponsors">
          <Sponsors scope={scope} />
        </Route>
        <Route path="/reports">
          <Reports scope={scope} />
        </Route>
        <Route path="/reports/payouts">
          <Payouts scope={scope} />
        </Route>
        <Route path="/reports/payouts/:id">
          {({ id }) => <PayoutPage scope={scope} id={id} />}
        </Route>
        <Route path="/stripe">
          <StripeMirror scope={scope} />
        </Route>
        <Route path="/stripe/:resource/:id">
          {({ resource, id }) => (
            <MirroredObject
              key={`${resource} ${id}`}
              scope={scope}
              resource={resource}
              id={decodeURIComponent(id)}
            />
          )}
        </Route>
        <Route path="/settings">
          <Settings scope={scope} />
        </Route>
        <Route path="/people">
          <People scope={scope} />
        </Route>
        <Route path="/audit-log">
          <AuditLog scope={scope} />
        </Route>
        <Route path="/catalogue">
          <Catalogue scope={scope} />
        </Route>
        <Route>
          <Empty title="This page does not exist." />
        </Route>
      </Switch>
    </Suspense>
  )
}

/** The first screen: what waits, or else the first page that the person may open. */
function Start({ scope, otherwise }: { scope: ConsoleScope; otherwise: string }) {
  const { isLoading, count } = useAttention(scope)
  if (count > 0) return <Redirect to="/attention" replace />
  return isLoading ? <Loading /> : <Redirect to={otherwise} replace />
}

function NotStaff({ me }: { me: Me }) {
  const text = 'You are not staff of this conference.'
  return <NoAccess home="~/console" title="Voucher console" text={text} me={me} />
}
