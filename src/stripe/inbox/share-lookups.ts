/**
 * Lets callers who ask for the same key at the same time share one look-up. A caller never gets the
 * result of one that began before it asked, so what it gets is as fresh as its own would be: nothing
 * is cached.
 */
export function shareLookups<T>(read: (key: string) => Promise<T>): (key: string) => Promise<T> {
  const running = new Map<string, Promise<unknown>>()
  const next = new Map<string, Promise<T>>()

  function start(key: string): Promise<T> {
    next.delete(key)
    const result = read(key)
    const settled = result
      .catch(() => {})
      .then(() => {
        if (running.get(key) === settled) running.delete(key)
      })
    running.set(key, settled)
    return result
  }

  return (key) => {
    const shared = next.get(key)
    if (shared !== undefined) return shared
    const queued = (running.get(key) ?? Promise.resolve()).then(() => start(key))
    next.set(key, queued)
    return queued
  }
}
