import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { errorsAsMarkdown } from '../http/error-page.ts'
import { buildOpenapi } from './build-openapi.ts'

/** `npm run openapi`: writes what is generated from the code. With `--check` it only compares, for CI. */
async function main(): Promise<number> {
  const generated = { 'openapi.yaml': await buildOpenapi(), 'docs/errors.md': errorsAsMarkdown() }
  const isStale = ([name, text]: [string, string]) => readIfThere(name) !== text
  const stale = Object.entries(generated).filter(isStale)
  if (process.argv.includes('--check')) {
    for (const [name] of stale) {
      process.stderr.write(`${name} does not match the code. Run: npm run openapi\n`)
    }
    return stale.length === 0 ? 0 : 1
  }
  for (const [name, text] of stale) {
    writeFileSync(fileOf(name), text)
    process.stdout.write(`Wrote ${name}.\n`)
  }
  return 0
}

const fileOf = (name: string) => new URL(`../../${name}`, import.meta.url)

const readIfThere = (name: string) =>
  existsSync(fileOf(name)) ? readFileSync(fileOf(name), 'utf8') : null

process.exitCode = await main()
