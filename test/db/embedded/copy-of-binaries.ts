import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Binaries, locateBinaries } from '../../../src/db/embedded/postgres-binaries.ts'

const run = promisify(execFile)

/** The installed PostgreSQL, copied below `parent`, to be broken or hidden there. */
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
