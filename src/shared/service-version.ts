import { existsSync, readFileSync } from 'node:fs'

// The compiled file in dist lies one folder deeper.
const PLACES = ['../../package.json', '../../../package.json']

function readVersion(): string {
  const place = PLACES.map((path) => new URL(path, import.meta.url)).find((url) => existsSync(url))
  if (place === undefined) throw new Error('package.json was not found')
  const { version } = JSON.parse(readFileSync(place, 'utf8')) as { version: string }
  return version
}

/** The version in package.json. It is read instead of imported, because Node 20 warns of JSON imports. */
export const SERVICE_VERSION = readVersion()
