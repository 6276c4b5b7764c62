import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, chown, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { beforeAll, inject, onTestFinished } from 'vitest'
import { processStart } from '../../../src/db/embedded/folder-lock.ts'
import { readPostmasterPid } from '../../../src/db/embedded/running-server.ts'
import { startEmbeddedPostgres } from '../../../src/db/embedded/start-embedded-postgres.ts'
import { discardScratchFolder, makeScratchFolder } from '../../support/test-servers.ts'

const run = promisify(execFile)

/** Whether the tests run as root. Only root can test root and other users. */
export const AS_ROOT = process.getuid?.() === 0

export const NOBODY = { uid: 65534, gid: 65534 }

/** Runs after the test, last one first, whether the test passed or not. */
export function afterThisTest(cleanup: () => Promise<unknown>): void {
  onTestFinished(async () => void (await cleanup()))
}

/** An empty folder; after the test its server is stopped and it is removed. */
export async function scratchFolder(owner?: { uid: number; gid: number }): Promise<string> {
  const folder = await makeScratchFolder()
  if (owner !== undefined) await chown(folder, owner.uid, owner.gid)
  afterThisTest(() => discardScratchFolder(folder))
  return folder
}

/** Returns folders with a stopped cluster, copied from one that is created once per test run. */
export function useReadyCluster(): () => Promise<string> {
  let original = ''
  beforeAll(async () => {
    original = await readyCluster()
  })
  return async () => {
    const folder = await scratchFolder()
    await run('cp', ['-a', `${original}/.`, folder])
    await chmod(folder, 0o700)
    return folder
  }
}

/** The cluster of this test run, which is removed with its bundled programs. */
async function readyCluster(): Promise<string> {
  const ready = join(inject('builtPrograms'), 'ready-cluster')
  if (existsSync(ready)) return ready
  const folder = await makeScratchFolder()
  const server = await startEmbeddedPostgres({ folder, durable: false })
  await server.stop()
  const copy = `${ready}-${process.pid}`
  await run('cp', ['-a', folder, copy])
  await discardScratchFolder(folder)
  // Another worker may have been faster.
  await rename(copy, ready).catch(() => rm(copy, { recursive: true }))
  return ready
}

/** The rows of one statement, on its own connection. */
export async function ask(connectionString: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows
  } finally {
    await client.end().catch(() => {})
  }
}

/** The process id that the data folder's postmaster.pid names. */
export async function serverPid(dataFolder: string): Promise<number> {
  const file = await readPostmasterPid(dataFolder)
  if (file.kind !== 'present') throw new Error(`postmaster.pid is ${file.kind}`)
  return file.content.pid
}

export async function lives(pid: number): Promise<boolean> {
  return (await processStart(pid)) !== undefined
}
