import { accessSync, constants, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { describe } from 'vitest'

/** The Debian package of each program that the tests of a cluster start. */
const PACKAGES = {
  haproxy: 'haproxy',
  pgbouncer: 'pgbouncer',
  patroni: 'patroni',
  etcd: 'etcd-server',
  initdb: 'postgresql',
  pg_basebackup: 'postgresql',
  pg_ctl: 'postgresql',
  postgres: 'postgresql',
} as const

export type Program = keyof typeof PACKAGES

/** Where Debian puts programs of Postgres (the newest version first) and those for administrators. */
function folders(): string[] {
  const path = (process.env['PATH'] ?? '').split(delimiter)
  return [...path, '/usr/sbin', ...postgresFolders()]
}

function postgresFolders(): string[] {
  const root = '/usr/lib/postgresql'
  try {
    const versions = readdirSync(root).sort((one, other) => Number(other) - Number(one))
    return versions.map((version) => join(root, version, 'bin'))
  } catch {
    return []
  }
}

/** The path of a program, or undefined where it is not installed. */
function findProgram(name: Program): string | undefined {
  return folders()
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

/** @throws Error where the program is not installed. */
export function programPath(name: Program): string {
  const path = findProgram(name)
  if (path === undefined) throw new Error(`Install ${PACKAGES[name]} (apt-get install)`)
  return path
}

/** `describe` where all programs are installed. Otherwise it is skipped, and a line says what to install. */
export function describeWith(...programs: Program[]): typeof describe | typeof describe.skip {
  const missing = programs.filter((name) => findProgram(name) === undefined)
  if (missing.length === 0) return describe
  const packages = [...new Set(missing.map((name) => PACKAGES[name]))].join(' ')
  process.stderr.write(
    `\n== SKIPPED: ${missing.join(', ')} missing. Install: apt-get install ${packages}\n\n`,
  )
  return describe.skip
}
