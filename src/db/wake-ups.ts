import pg from 'pg'

/** Postgres channels on which a transaction announces work; the payload is the lane of the work. */
type WakeChannel = 'stripe_events' | 'sponsor_vouchers_jobs' | 'worker:migrate'

const CHANNELS: readonly WakeChannel[] = [
  'stripe_events',
  'sponsor_vouchers_jobs',
  'worker:migrate',
]

/**
 * Notifications for all workers of a process, over one connection: Postgres wakes every listening
 * connection for each notification of the database.
 */
export type WakeUps = {
  /**
   * Calls `onMessage` with the payload of each notification, and with null after each connect, since
   * notifications from before it are lost.
   */
  on(channel: WakeChannel, onMessage: (payload: string | null) => void): void
  stop(): Promise<void>
}

const RECONNECT_MS = 1_000

/**
 * Listens until it is stopped, also across failures of the database. It uses its own connection, because
 * a pool gives its connections to other queries. Workers poll too, so a lost notification only delays work.
 */
export function listenForWakeUps(deps: {
  connectionString: string
  logger: { debug(details: object, message: string): void }
}): WakeUps {
  const { connectionString, logger } = deps
  const listeners: { channel: string; onMessage: (payload: string | null) => void }[] = []
  let client: pg.Client | null = null
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  function wake(channel: string, payload: string): void {
    for (const each of listeners) if (each.channel === channel) each.onMessage(payload)
  }

  async function connect(): Promise<void> {
    const next = new pg.Client({
      connectionString,
      application_name: 'sponsor-vouchers notifications',
      connectionTimeoutMillis: 5_000,
      keepAlive: true,
    })
    // `error`, `end` and a failed query may all report the same failure.
    let lost = false
    const lose = (err: unknown) => {
      if (lost) return
      lost = true
      if (client === next) client = null
      next.end().catch(() => {})
      if (stopped) return
      logger.debug({ err }, 'the notification connection failed; polling only')
      timer = setTimeout(() => void connect(), RECONNECT_MS)
    }
    next.on('error', lose)
    next.on('end', () => lose(new Error('The server closed the connection')))
    next.on('notification', ({ channel, payload = '' }) => wake(channel, payload))
    client = next
    try {
      await next.connect()
      await next.query(CHANNELS.map((channel) => `listen "${channel}"`).join('; '))
      for (const { onMessage } of listeners) onMessage(null)
    } catch (error) {
      lose(error)
    }
  }

  const first = connect()
  return {
    on: (channel, onMessage) => void listeners.push({ channel, onMessage }),
    async stop() {
      stopped = true
      clearTimeout(timer)
      await first
      await client?.end().catch(() => {})
    },
  }
}
