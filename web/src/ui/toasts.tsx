import { useSyncExternalStore } from 'react'

type Toast = { id: number; text: string; kind: 'info' | 'error' }

// One list for the page: an action may end after its dialog is closed.
let toasts: readonly Toast[] = []
let nextId = 1
const listeners = new Set<() => void>()

function set(next: readonly Toast[]): void {
  toasts = next
  for (const listener of listeners) listener()
}

const INFO_MS = 6_000

/** Shows a message at the edge of the page. Errors stay until they are closed. */
export function toast({ text, kind = 'info' }: { text: string; kind?: Toast['kind'] }): void {
  const id = nextId
  nextId += 1
  set([...toasts.slice(-3), { id, text, kind }])
  if (kind === 'info') setTimeout(() => closeToast(id), INFO_MS)
}

const closeToast = (id: number) => set(toasts.filter((each) => each.id !== id))

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** The place of the messages, read aloud by screen readers. */
export function Toasts() {
  const shown = useSyncExternalStore(subscribe, () => toasts)
  return (
    <section className="toasts" aria-label="Messages">
      <div role="status">
        {shown.map(({ id, text, kind }) => (
          <div
            key={id}
            className={`toast toast-${kind}`}
            role={kind === 'error' ? 'alert' : undefined}
          >
            <span>{text}</span>
            <button
              type="button"
              className="icon-button"
              aria-label="Close"
              onClick={() => closeToast(id)}
            >
              ×
            </button>
          </div>
        ))}
      </div>
    </section>
  )
}
