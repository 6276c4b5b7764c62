import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll } from 'vitest'
import { type Binaries, locateBinaries } from '../../../src/db/embedded/postgres-binaries.ts'
import { discardScratchFolder, makeScratchFolder } from '../../support/test-servers.ts'

const run = promisify(execFile)

/** A copy of the installed PostgreSQL in `parent`, which a test may break or hide. */
export async function copyOfBinaries(parent: string): Promise<Binaries> {
  const installed = await locateBinaries()
  const packageFolder = join(parent, 'package')
  await run('cp', ['-a', installed.packageFolder, packageFolder])
  const program = (name: string) => join(packageFolder, 'native', 'bin', name)
  return {
    packageName: installed.packageName,
    packageFolder,
    initdb: program('initdb'),
    pgCtl: program('pg_ctl'),
    postgres: program('postgres'),
  }
}

/**
 * One copy for all tests of a file, which every user may run. Other users may have no access to the
 * checkout, for example below /root.
 */
export function useBinariesForEveryUser(): () => Binaries {
  let folder = ''
  let copy: Binaries | undefined
  beforeAll(async () => {
    folder = await makeScratchFolder()
    copy = await copyOfBinaries(folder)
    await run('chmod', ['-R', 'a+rX', folder])
  })
  afterAll(() => discardScratchFolder(folder))
  return () => {
    if (copy === undefined) throw new Error('The copy exists from beforeAll on.')
    return copy
  }
}
