import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { type ReactNode, StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { ApiError } from '../api/client.ts'
import { OfflineNote } from './feedback.tsx'
import { Toasts } from './toasts.tsx'
import './styles/index.css'

/** Only what may work the next time is tried again: no connection, or the service is busy. */
const isWorthARetry = (failures: number, error: Error) =>
  failures < 2 && error instanceof ApiError && (error.status === 0 || error.status >= 500)

const queries = new QueryClient({
  defaultOptions: {
    queries: { retry: isWorthARetry, staleTime: 5_000 },
    // A write is repeated by the person, under the same key.
    mutations: { retry: false },
  },
})

/** Shows one of the applications in the page. */
export function start(application: ReactNode): void {
  const root = document.getElementById('root')
  if (root === null) throw new Error('The page has no root')
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <OfflineNote />
        {application}
        <Toasts />
      </QueryClientProvider>
    </StrictMode>,
  )
}
