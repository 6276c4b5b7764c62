import { existsSync, readFileSync } from 'node:fs'

// One folder more between us and it when this file runs compiled, from dist.
const PLACES = ['../../package.json', '../../../package.json']

function readVersion(): string {
  const place = PLACES.map((path) => new URL(path, import.meta.url)).find((url) => existsSync(url))
  if (place === undefined) throw new Error('package.json is not where it should be')
  const { version } = JSON.parse(readFileSync(place, 'utf8')) as { version: string }
  return version
}

/** The version in package.json. Read, not imported: Node 20 warns of JSON imports. */
export const SERVICE_VERSION = readVersion()
