import { connect, type Db } from '../../db/connect.ts'
import { startEmbeddedPostgres } from '../../db/embedded/start-embedded-postgres.ts'

export type DemoDatabase = {
  connectionString: string
  /** Drops the database and gives the server up; the last demo on the folder stops it. */
  stop(): Promise<void>
}

const PREFIX = 'demo_'

// A demo that has just begun may not be connected to its database yet.
const ABANDONED_AFTER_MS = 60_000

/**
 * A new, empty database on the embedded server of the folder. Each run has its own, so that a demo
 * can be run again, and beside one that is still up: their fake Stripes know nothing of each other.
 */
export async function openDemoDatabase(
  folder: string,
  log: (message: string) => void,
): Promise<DemoDatabase> {
  const database = `${PREFIX}${Date.now().toString(36)}_${process.pid}`
  // What it holds ends with the run, so nothing is lost by a power cut.
  const server = await startEmbeddedPostgres({ folder, database, durable: false, log })
  const asAdmin = async (work: (admin: Db) => Promise<void>) => {
    const admin = connect(server.adminConnectionString, { max: 1 })
    try {
      await work(admin)
    } catch (error) {
      // A database too many is no reason to end a demo.
      log(`a database of a demo stays: ${error instanceof Error ? error.message : String(error)}`)
    } finally {
      await admin.destroy()
    }
  }
  await asAdmin(dropAbandoned)
  return {
    connectionString: server.connectionString,
    async stop() {
      await asAdmin((admin) => drop(admin, database))
      await server.stop()
    },
  }
}

/** Databases of demos that were killed: old, and nobody is connected. */
async function dropAbandoned(admin: Db): Promise<void> {
  const rows = await admin('pg_database as d')
    .whereRaw('starts_with(d.datname, ?)', [PREFIX])
    .whereNotExists(admin('pg_stat_activity as a').whereRaw('a.datname = d.datname'))
    .select<{ name: string }[]>('d.datname as name')
  const isOld = ({ name }: { name: string }) => {
    const begun = Number.parseInt(name.slice(PREFIX.length), 36)
    return Date.now() - begun > ABANDONED_AFTER_MS
  }
  for (const { name } of rows.filter(isOld)) await drop(admin, name)
}

async function drop(admin: Db, name: string): Promise<void> {
  await admin.raw('drop database if exists ?? with (force)', [name])
}
