import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { processStart } from '../../src/db/embedded/folder-lock.ts'
import { findServer, makeSocketFolder, stopServer } from '../../src/db/embedded/running-server.ts'
import type { EmbeddedOptions } from '../../src/db/embedded/start-embedded-postgres.ts'

/** The server of all test runs in this checkout; several runs may use it at once. */
export const TEST_SERVER: EmbeddedOptions = {
  folder: fileURLToPath(new URL('../../.data/test-postgres', import.meta.url)),
  durable: false,
  maxConnections: 400,
}

// The name tells whose the folder is, so that what a killed test process left can be recognised.
const NAME = /^sponsor-vouchers-scratch-(\d+)-/

/** An empty folder for one test's own database server. */
export function makeScratchFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), `sponsor-vouchers-scratch-${process.pid}-`))
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

/** Discards the folders of test processes that no longer live. */
export async function discardAbandonedFolders(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = NAME.exec(name)?.[1]
    if (pid === undefined || (await processStart(Number(pid))) !== undefined) continue
    await discardScratchFolder(join(tmpdir(), name))
  }
}
