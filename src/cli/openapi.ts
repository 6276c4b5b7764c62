import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { buildOpenapi } from './build-openapi.ts'

const FILE = new URL('../../openapi.yaml', import.meta.url)

/** `npm run openapi`: writes openapi.yaml. With `--check` it only compares the file, for CI. */
async function main(): Promise<number> {
  const text = await buildOpenapi()
  if (!process.argv.includes('--check')) {
    writeFileSync(FILE, text)
    process.stdout.write('Wrote openapi.yaml.\n')
    return 0
  }
  if (existsSync(FILE) && readFileSync(FILE, 'utf8') === text) return 0
  process.stderr.write('openapi.yaml does not match the routes. Run: npm run openapi\n')
  return 1
}

process.exitCode = await main()
