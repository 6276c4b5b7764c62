import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Binaries, locateBinaries } from '../../../src/db/embedded/postgres-binaries.ts'

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
