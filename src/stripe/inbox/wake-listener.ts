import pg from 'pg'
import type { Logger } from '../../shared/logger.ts'
import { WAKE_CHANNEL } from './insert-events.ts'

const RECONNECT_MS = 1_000

export type WakeListener = { stop(): Promise<void> }

/**
 * Calls `onWake` when an event was stored by any process. On a connection of its own, since a pool
 * hands them around. Only a hint: whatever is lost while it reconnects is found by polling.
 */
export function listenForEvents(
  connectionString: string,
  logger: Logger,
  onWake: () => void,
): WakeListener {
  let client: pg.Client | null = null
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  async function connect(): Promise<void> {
    const next = new pg.Client({
      connectionString,
      application_name: 'sponsor-vouchers events',
      connectionTimeoutMillis: 5_000,
      keepAlive: true,
    })
    // One connection fails once: `error` and a failed query may both tell of it.
    let lost = false
    const lose = (err: unknown) => {
      if (lost) return
      lost = true
      if (client === next) client = null
      next.end().catch(() => {})
      if (stopped) return
      logger.debug({ err }, 'not listening for events, polling only')
      timer = setTimeout(() => void connect(), RECONNECT_MS)
    }
    next.on('error', lose)
    next.on('end', () => lose(new Error('The server closed the connection')))
    next.on('notification', onWake)
    client = next
    try {
      await next.connect()
      await next.query(`listen ${WAKE_CHANNEL}`)
      onWake() // whatever was stored before we listened
    } catch (error) {
      lose(error)
    }
  }

  const first = connect()
  return {
    async stop() {
      stopped = true
      clearTimeout(timer)
      await first
      await client?.end().catch(() => {})
    },
  }
}
