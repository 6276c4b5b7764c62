import { type ReactNode, useEffect, useRef } from 'react'
import { Link, useLocation } from 'wouter'
import { signOut } from '../api/session.ts'
import { Button } from './controls.tsx'

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
  const isFirst = useRef(true)
  // A screen reader hears the new page, and Tab begins there.
  useEffect(() => {
    if (isFirst.current) isFirst.current = false
    else main.current?.focus()
  }, [location])
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
          <nav className="nav" aria-label="Pages">
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
