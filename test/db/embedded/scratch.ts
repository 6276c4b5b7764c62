import { execFile } from 'node:child_process'
import { chmod, chown } from 'node:fs/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, onTestFinished } from 'vitest'
import { startEmbeddedPostgres } from '../../../src/db/embedded/start-embedded-postgres.ts'
import { discardScratchFolder, makeScratchFolder } from '../../support/scratch-servers.ts'

const run = promisify(execFile)

/** True where the tests run as root, which alone can try what root and other users meet. */
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

/** Gives folders with a stopped cluster in them, copied from one that is made once a file. */
export function useReadyCluster(): () => Promise<string> {
  let original = ''
  beforeAll(async () => {
    original = await makeScratchFolder()
    const server = await startEmbeddedPostgres({ folder: original, durable: false })
    await server.stop()
  })
  afterAll(() => discardScratchFolder(original))
  return async () => {
    const folder = await scratchFolder()
    await run('cp', ['-a', `${original}/.`, folder])
    await chmod(folder, 0o700)
    return folder
  }
}
