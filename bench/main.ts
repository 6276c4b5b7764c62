import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmbeddedPostgres } from '../src/db/embedded/start-embedded-postgres.ts'
import { migrateToLatest } from '../src/db/migrations.ts'
import { benchBudget } from './budget.ts'
import { benchInbox } from './inbox.ts'
import { benchIssue } from './issue.ts'
import { benchSync } from './sync.ts'

// Figures are ratios within one run on one durable server: they compare ways, not machines.
const BENCHES = { budget: benchBudget, inbox: benchInbox, issue: benchIssue, sync: benchSync }

function chosen(names: string[]): (keyof typeof BENCHES)[] {
  const known = Object.keys(BENCHES) as (keyof typeof BENCHES)[]
  const unknown = names.filter((name) => !known.some((each) => each === name))
  if (unknown.length > 0) {
    throw new Error(`There is no bench ${unknown.join(', ')}. There are: ${known.join(', ')}.`)
  }
  return names.length === 0 ? known : known.filter((name) => names.includes(name))
}

const print = (line: string) => void process.stdout.write(`${line}\n`)
const names = process.argv.slice(2).filter((word) => !word.startsWith('-'))

const folder = await mkdtemp(join(tmpdir(), 'sponsor-vouchers-bench-'))
try {
  for (const name of chosen(names)) {
    print(`\n${name}`)
    // A database of its own for each: the figures depend on what is in it.
    const server = await startEmbeddedPostgres({ folder: join(folder, name) })
    try {
      await migrateToLatest(server.connectionString)
      const { connectionString } = server
      await BENCHES[name]({ connectionString, print, folder: join(folder, `${name}-more`) })
    } finally {
      await server.stop()
    }
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}
