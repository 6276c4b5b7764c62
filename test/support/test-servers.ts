import { accessSync, constants, existsSync, statfsSync } from 'node:fs'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { processStart } from '../../src/db/embedded/folder-lock.ts'
import { findServer, makeSocketFolder, stopServer } from '../../src/db/embedded/running-server.ts'
import type { EmbeddedOptions } from '../../src/db/embedded/start-embedded-postgres.ts'

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url))
const MEMORY = '/dev/shm'

/**
 * Where the servers of tests keep their files: in memory if the system offers it. On a disk, making
 * and removing the files of hundreds of databases takes a tenth of a run. They need 300 MB.
 */
const ROOT = hasMemory() ? MEMORY : tmpdir()

function hasMemory(): boolean {
  try {
    accessSync(MEMORY, constants.W_OK | constants.X_OK)
    const { blocks, bsize } = statfsSync(MEMORY)
    return blocks * bsize >= 2 ** 30
  } catch {
    return false
  }
}

// The name contains the path of its checkout, so that a deleted checkout can be recognised.
const CHECKOUT_NAME = /^sponsor-vouchers-test-([\w-]+)$/

function serverFolder(): string {
  const name = `sponsor-vouchers-test-${Buffer.from(CHECKOUT).toString('base64url')}`
  const isInMemory = ROOT === MEMORY && name.length <= 200
  return isInMemory ? join(MEMORY, name) : join(CHECKOUT, '.data', 'test-postgres')
}

/** The server of all test runs in this checkout; several runs may use it at once. */
export const TEST_SERVER: EmbeddedOptions = {
  folder: serverFolder(),
  durable: false,
  maxConnections: 400,
}

// The name tells whose the folder is, so that what a killed test process left can be recognised.
const NAME = /^sponsor-vouchers-scratch-(\d+)-/

/** An empty folder for one test's own database server. */
export function makeScratchFolder(): Promise<string> {
  return mkdtemp(join(ROOT, `sponsor-vouchers-scratch-${process.pid}-`))
}

/** Stops the folder's server, if one runs, and removes the folder. */
export async function discardScratchFolder(folder: string): Promise<void> {
  const data = join(folder, 'data')
  const server = await findServer(data)
  if (server !== undefined) await stopServer(data, server)
  // Left by a server that was killed.
  const socketFolder = await makeSocketFolder(data, undefined)
  if (socketFolder !== undefined) await rm(socketFolder, { recursive: true })
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
}

/** Discards the folders of test processes that no longer live, and the servers of deleted checkouts. */
export async function discardAbandonedFolders(): Promise<void> {
  for (const name of await readdir(ROOT)) {
    if (!(await isOurs(join(ROOT, name)))) continue
    const pid = NAME.exec(name)?.[1]
    const checkout = CHECKOUT_NAME.exec(name)?.[1]
    const isAbandoned =
      (pid !== undefined && (await processStart(Number(pid))) === undefined) ||
      (checkout !== undefined && !existsSync(Buffer.from(checkout, 'base64url')))
    if (isAbandoned) await discardScratchFolder(join(ROOT, name))
  }
}

/** Another user's folders cannot be removed, and that user's checkout may only look deleted. */
async function isOurs(folder: string): Promise<boolean> {
  const user = process.getuid?.()
  if (user === undefined || user === 0) return true
  const found = await stat(folder).catch(() => null)
  return found?.uid === user
}
