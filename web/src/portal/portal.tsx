import { lazy, Suspense } from 'react'
import { Redirect, Route, Switch } from 'wouter'
import { useMe } from '../api/session.ts'
import { Empty, Loaded, Loading } from '../ui/feedback.tsx'
import { NoAccess, Shell } from '../ui/shell.tsx'
import { Overview } from './overview.tsx'
import { type PortalScope, portalScopeOf } from './scope.ts'

const PurchasePage = lazy(() =>
  import('./purchase.tsx').then(({ PurchasePage }) => ({ default: PurchasePage })),
)
const BatchPage = lazy(() =>
  import('./batch.tsx').then(({ BatchPage }) => ({ default: BatchPage })),
)
const Buy = lazy(() => import('./buy.tsx').then(({ Buy }) => ({ default: Buy })))
const Members = lazy(() => import('./members.tsx').then(({ Members }) => ({ default: Members })))

/** `/portal/{conference}/…`: what a sponsor bought, and buys. */
export function Portal() {
  const me = useMe()
  return (
    <Loaded query={me}>
      {(person) => {
        const { access, email } = person
        const scopes = access.flatMap((each) => portalScopeOf(each) ?? [])
        const [first] = scopes
        if (first === undefined) {
          const text = 'You are not a member of a sponsor.'
          return <NoAccess home="~/portal" title="Voucher portal" text={text} me={person} />
        }
        return (
          <Switch>
            {scopes.map((scope) => (
              <Route key={scope.conference} path={`/portal/${scope.conference}`} nest>
                <Conference scope={scope} others={scopes} email={email} />
              </Route>
            ))}
            <Route>
              <Redirect to={`/portal/${first.conference}`} replace />
            </Route>
          </Switch>
        )
      }}
    </Loaded>
  )
}

const NAV = [
  { href: '/', label: 'Overview' },
  { href: '/buy', label: 'Buy codes' },
  { href: '/people', label: 'People' },
]

function Conference({
  scope,
  others,
  email,
}: {
  scope: PortalScope
  others: readonly PortalScope[]
  email: string | null
}) {
  return (
    <Shell
      home="/"
      title={`${scope.sponsorName} · ${scope.conferenceName}`}
      nav={NAV}
      email={email}
      extra={others.length > 1 ? <OtherConferences scopes={others} current={scope} /> : null}
    >
      <Suspense fallback={<Loading />}>
        <Switch>
          <Route path="/">
            <Overview scope={scope} />
          </Route>
          <Route path="/buy">
            <Buy scope={scope} />
          </Route>
          <Route path="/purchases/:id">
            {({ id }) => <PurchasePage key={id} scope={scope} id={id} />}
          </Route>
          <Route path="/batches/:id">
            {({ id }) => <BatchPage key={id} scope={scope} id={id} />}
          </Route>
          <Route path="/people">
            <Members scope={scope} email={email} />
          </Route>
          <Route>
            <Empty title="This page does not exist." />
          </Route>
        </Switch>
      </Suspense>
    </Shell>
  )
}

function OtherConferences({
  scopes,
  current,
}: {
  scopes: readonly PortalScope[]
  current: PortalScope
}) {
  return (
    <span className="row">
      {scopes
        .filter(({ conference }) => conference !== current.conference)
        .map(({ conference, conferenceName }) => (
          <a key={conference} href={`/portal/${conference}`}>
            {conferenceName}
          </a>
        ))}
    </span>
  )
}
