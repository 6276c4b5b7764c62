import { type ReactNode, useEffect, useRef } from 'react'
import { Link, useLocation } from 'wouter'
import { type Me, signOut } from '../api/session.ts'
import { Button } from './controls.tsx'
import { Empty } from './feedback.tsx'

export type NavItem = {
  href: string
  label: string
  /** How many things wait there; 0 is not shown. */
  count?: number
}

/** The frame of every page: name, navigation, who is signed in. */
export function Shell({
  home,
  title,
  nav,
  email,
  extra,
  children,
}: {
  home: string
  title: string
  nav: readonly NavItem[]
  email: string | null
  extra?: ReactNode
  children: ReactNode
}) {
  const [location] = useLocation()
  const main = useRef<HTMLElement>(null)
  const pages = useRef<HTMLElement>(null)
  const isFirst = useRef(true)
  // A screen reader hears the new page, and Tab begins there.
  useEffect(() => {
    if (isFirst.current) isFirst.current = false
    else main.current?.focus()
  }, [location])
  // A count makes its link wider.
  const widths = nav.map(({ href, count = 0 }) => `${href} ${count === 0 ? '' : count}`).join()
  // On a phone, the navigation scrolls to the side.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the current page and the widths follow from them.
  useEffect(() => {
    if (pages.current !== null) showCurrent(pages.current)
  }, [location, widths])
  return (
    <>
      <a className="skip-link" href="#main">
        Skip to the content
      </a>
      <header className="top-bar">
        <div className="top-bar-inner">
          <Link className="brand" href={home}>
            {title}
          </Link>
          {extra}
          <span className="muted">{email}</span>
          <Button kind="quiet" small onPress={() => void signOut()}>
            Sign out
          </Button>
        </div>
        <div className="top-bar-inner">
          <nav ref={pages} className="nav" aria-label="Pages">
            {nav.map(({ href, label, count = 0 }) => (
              <Link
                key={href}
                href={href}
                aria-current={isCurrent(location, href, home) ? 'page' : undefined}
              >
                {label}
                {count === 0 ? null : <span className="count">{count}</span>}
              </Link>
            ))}
          </nav>
        </div>
      </header>
      <main id="main" ref={main} tabIndex={-1} className="page">
        {children}
      </main>
    </>
  )
}

const isCurrent = (location: string, href: string, home: string) =>
  location === href || (href !== home && location.startsWith(`${href}/`))

/** Scrolls the navigation, and not the page, until the current page is in its middle. */
function showCurrent(nav: HTMLElement): void {
  const current = nav.querySelector<HTMLElement>('[aria-current]')
  if (current === null) return
  nav.scrollLeft = current.offsetLeft - (nav.clientWidth - current.offsetWidth) / 2
}

/** For somebody who opened a page of others: says so, and leads to their own. */
export function NoAccess({
  home,
  title,
  text,
  me,
}: {
  home: string
  title: string
  text: string
  me: Me
}) {
  return (
    <Shell home={home} title={title} nav={[]} email={me.email}>
      <Empty title={text}>
        {me.access.length === 0 ? (
          <p>Ask whoever invited you.</p>
        ) : (
          <ul className="plain-list stack-tight">
            {me.access.map(({ role, conference, sponsor }) => (
              <li key={`${role} ${conference?.id} ${sponsor?.id}`}>
                <a href={`/${role === 'sponsor' ? 'portal' : 'console'}/${conference?.slug ?? ''}`}>
                  {role === 'sponsor'
                    ? `The vouchers of ${sponsor?.name} at ${conference?.name}`
                    : `The console of ${conference?.name ?? 'all conferences'}`}
                </a>
              </li>
            ))}
          </ul>
        )}
      </Empty>
    </Shell>
  )
}

/** The head of a page: its name in the title bar too, and its actions. */
export function PageHead({ title, children }: { title: string; children?: ReactNode }) {
  useEffect(() => {
    document.title = title
  }, [title])
  return (
    <div className="page-head">
      <h1>{title}</h1>
      <div className="row">{children}</div>
    </div>
  )
}
