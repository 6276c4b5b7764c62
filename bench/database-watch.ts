import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

/** Watches a database from an administrator's session, so that waiting costs the service nothing. */
export type DatabaseWatch = {
  /** Resolves when the purchase is paid, within a poll. */
  paid(purchase: string): Promise<void>
  /** @throws Error if an event failed. */
  allEventsProcessed(): Promise<void>
  /** Collects the statistics for plans, as autovacuum does within a minute. */
  analyze(): Promise<void>
  /** CPU time of all processes of the server without this session; null where /proc does not show it. */
  cpuMs(): Promise<number | null>
  close(): Promise<void>
}

const TIMEOUT_MS = 120_000
/** Linux counts CPU time in these; the value is part of its interface to programs. */
const TICK_MS = 10

type Waiting = { resolve: () => void; reject: (reason: unknown) => void; since: number }

/**
 * @param connectionString of an administrator: row security hides other tenants from everybody else.
 * @param pollMs how often it looks.
 */
export async function watchDatabase(connectionString: string, pollMs = 10): Promise<DatabaseWatch> {
  const client = new pg.Client({ connectionString, application_name: 'sponsor-vouchers bench' })
  // The server may stop first when the bench is interrupted.
  client.on('error', () => {})
  await client.connect()
  const waiting = new Map<string, Waiting>()
  let polling = false

  async function poll(): Promise<void> {
    if (polling) return
    polling = true
    try {
      while (waiting.size > 0) {
        for (const id of await paidAmong([...waiting.keys()])) {
          waiting.get(id)?.resolve()
          waiting.delete(id)
        }
        failLate()
        await sleep(pollMs)
      }
    } catch (error) {
      for (const { reject } of waiting.values()) reject(error)
      waiting.clear()
    } finally {
      polling = false
    }
  }

  async function paidAmong(ids: string[]): Promise<string[]> {
    const { rows } = await client.query<{ id: string }>({
      name: 'paid',
      text: `select p.id from bulk_purchases p join conferences c on c.id = p.conference_id
             where p.id = any ($1) and p.status = 'PAID'`,
      values: [ids],
    })
    return rows.map(({ id }) => id)
  }

  function failLate(): void {
    for (const [id, { since, reject }] of waiting) {
      if (performance.now() - since < TIMEOUT_MS) continue
      waiting.delete(id)
      reject(new Error(`${id} was not paid within ${TIMEOUT_MS / 1000} s`))
    }
  }

  return {
    paid: (purchase) =>
      new Promise((resolve, reject) => {
        waiting.set(purchase, { resolve, reject, since: performance.now() })
        void poll()
      }),
    async allEventsProcessed() {
      for (;;) {
        const { rows } = await client.query<{ status: string }>(
          `select distinct status from stripe_events where status in ('pending', 'failed')`,
        )
        if (rows.some(({ status }) => status === 'failed')) throw new Error('An event failed')
        if (rows.length === 0) return
        await sleep(pollMs)
      }
    },
    analyze: async () => void (await client.query('analyze')),
    async cpuMs() {
      const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
      return serverCpuMs(rows[0]?.pid ?? 0)
    },
    close: () => client.end(),
  }
}

type ProcessTimes = { pid: number; parent: number; own: number; ended: number }

async function serverCpuMs(ownBackend: number): Promise<number | null> {
  const names = await readdir('/proc').catch(() => [])
  const pids = names.filter((name) => /^\d+$/.test(name)).map(Number)
  const processes = (await Promise.all(pids.map(readTimes))).filter((each) => each !== null)
  const backend = processes.find(({ pid }) => pid === ownBackend)
  const server = processes.find(({ pid }) => pid === backend?.parent)
  if (backend === undefined || server === undefined) return null
  const children = processes.filter(({ parent }) => parent === server.pid)
  const ticks = children.reduce((sum, { own }) => sum + own, server.own + server.ended)
  return (ticks - backend.own) * TICK_MS
}

/** Of a process of Postgres; null for others and for one that has just ended. */
async function readTimes(pid: number): Promise<ProcessTimes | null> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  if (!text.includes('(postgres)')) return null
  // proc_pid_stat(5), from the third field on: the second one may contain spaces.
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
  const [parent = 0, user = 0, system = 0, endedUser = 0, endedSystem = 0] = [
    fields[1],
    ...fields.slice(11, 15),
  ]
  return { pid, parent, own: user + system, ended: endedUser + endedSystem }
}
