import type { UseQueryResult } from '@tanstack/react-query'
import { type ReactNode, useEffect, useState } from 'react'
import { ApiError } from '../api/client.ts'

/** Grey bars in the place of what loads. */
export function Loading({ lines = 4 }: { lines?: number }) {
  return (
    <div className="loading" role="status">
      <span className="visually-hidden">Loading…</span>
      {Array.from({ length: lines }, (_, line) => (
        <div key={line} className="skeleton" />
      ))}
    </div>
  )
}

/** What a list without rows says, and what to do next. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <p className="empty-title">{title}</p>
      {children}
    </div>
  )
}

/** An error in the place of what failed, with a way on. */
export function Failure({ error, retry }: { error: Error; retry?: () => void }) {
  const requestId = error instanceof ApiError ? error.requestId : null
  return (
    <div className="failure" role="alert">
      <p>{error.message}</p>
      {requestId === null ? null : <p className="muted">Request {requestId}</p>}
      {retry === undefined ? null : (
        <button type="button" className="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  )
}

/** The data of a query, or what stands in its place. Old data stays while new data loads. */
export function Loaded<T>({
  query,
  lines,
  children,
}: {
  query: UseQueryResult<T>
  lines?: number
  children: (data: T) => ReactNode
}) {
  if (query.data !== undefined) return children(query.data)
  if (query.error !== null) {
    return <Failure error={query.error} retry={() => void query.refetch()} />
  }
  return <Loading {...(lines === undefined ? {} : { lines })} />
}

/** A note across the page while the browser has no network. */
export function OfflineNote() {
  const [isOnline, setOnline] = useState(() => navigator.onLine)
  useEffect(() => {
    const update = () => setOnline(navigator.onLine)
    addEventListener('online', update)
    addEventListener('offline', update)
    return () => {
      removeEventListener('online', update)
      removeEventListener('offline', update)
    }
  }, [])
  if (isOnline) return null
  return (
    <p className="offline" role="status">
      You are offline. What you see may be old; nothing is saved until the connection is back.
    </p>
  )
}
