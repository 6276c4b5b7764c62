import { setTimeout as sleep } from 'node:timers/promises'
import { withAdminSession } from './admin-session.ts'
import { codeOf, messageOf } from './error-text.ts'
import type { ServerAddress } from './server-address.ts'
import type { ServerOptions } from './server-settings.ts'

/** What keeps a running server from being used as it is. */
export type Fault =
  | { kind: 'settings'; detail: string }
  | { kind: 'password'; detail: string }
  | { kind: 'unreachable'; detail: string }

const TRIES = 100
const PAUSE_MS = 50

/** Logs in to a running server and compares it with what is wanted; nothing when all is well. */
export async function examineServer(
  address: ServerAddress,
  password: string,
  dataFolder: string,
  wanted: ServerOptions,
): Promise<Fault | undefined> {
  for (let attempt = 1; ; attempt++) {
    try {
      const found = await readSettings(address, password)
      return compare(found, dataFolder, wanted)
    } catch (error) {
      const code = codeOf(error)
      if (code === '28P01' || code === '28000')
        return { kind: 'password', detail: messageOf(error) }
      // "Starting up" and "in recovery": for a moment after a session crashed.
      const passing = code === '57P03'
      if (!passing || attempt === TRIES) return { kind: 'unreachable', detail: messageOf(error) }
      await sleep(PAUSE_MS)
    }
  }
}

type Settings = { data_directory: string; fsync: string; max_connections: string }

function readSettings(address: ServerAddress, password: string): Promise<Settings | undefined> {
  return withAdminSession(address, password, async (client) => {
    const { rows } = await client.query<Settings>(
      `select current_setting('data_directory') as data_directory,
              current_setting('fsync') as fsync,
              current_setting('max_connections') as max_connections`,
    )
    return rows[0]
  })
}

function compare(
  found: Settings | undefined,
  dataFolder: string,
  wanted: ServerOptions,
): Fault | undefined {
  // PostgreSQL writes paths with slashes, on Windows too.
  if (found?.data_directory !== dataFolder.replaceAll('\\', '/')) {
    return { kind: 'unreachable', detail: `another server answers, of ${found?.data_directory}` }
  }
  const fsync = wanted.durable ? 'on' : 'off'
  if (found.fsync !== fsync)
    return { kind: 'settings', detail: `it runs with fsync=${found.fsync}` }
  if (Number(found.max_connections) !== wanted.maxConnections) {
    return { kind: 'settings', detail: `it allows ${found.max_connections} connections` }
  }
  return undefined
}
