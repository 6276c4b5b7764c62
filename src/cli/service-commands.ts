import type { Command } from 'commander'
import type { Config } from '../config.ts'
import { migrateBack, migrateDown, migrateToLatest } from '../db/migrations.ts'
import type { OpenDatabase } from '../db/open-database.ts'
import { UsageError } from './cli-errors.ts'
import { withDatabase } from './cli-session.ts'
import { addCommand, answer, type Cli } from './command.ts'

/** `migrate` */
export function addMigrate(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'migrate',
    summary: 'Migrate the database schema to the latest version',
    details: 'Safe while the service runs and while several processes migrate.',
    examples: [
      ['migrate', 'apply the missing migrations'],
      ['migrate --back', 'undo the migration that was applied last, with the code of its release'],
      ['migrate --down', 'undo all migrations: drops all tables of the service with their data'],
    ],
  })
  command
    .option(
      '--back',
      'undo the migration that was applied last; data that only its schema stores is lost',
    )
    .option('--down', 'undo all migrations, newest first; deletes all data')
    .option('--yes', 'confirms --back and --down in production')
  command.action(async (options: { back?: true; down?: true; yes?: true }) => {
    const { back, down, yes } = options
    if (back === true && down === true) {
      throw new UsageError('--back and --down cannot be combined')
    }
    let undone: string | null = null
    const migrate = async ({ directConnectionString: url }: OpenDatabase, config: Config) => {
      if (config.production && yes !== true) {
        if (down === true) {
          throw new UsageError('--down deletes all data; in production it needs --yes')
        }
        if (back === true) throw new UsageError('--back deletes data; in production it needs --yes')
      }
      if (back === true) undone = await migrateBack(url)
      else await (down === true ? migrateDown(url) : migrateToLatest(url))
    }
    // A release step has the address of the database, but no secret of the service.
    await withDatabase(cli, migrate, 'migration')
    if (back === true) {
      answer(cli, command, { schema: 'previous', undone }, () =>
        undone === null ? 'There is no migration to undo.\n' : `undone: ${undone}\n`,
      )
      return
    }
    const text = down === true ? 'All migrations are undone.' : 'The schema is up to date.'
    answer(cli, command, { schema: down === true ? 'absent' : 'latest' }, () => `${text}\n`)
  })
}

/** `start` */
export function addStart(program: Command): void {
  const command = addCommand(program, {
    usage: 'start',
    summary: 'Start the service',
    details:
      'RUN decides whether it serves HTTP, processes events and jobs, or does both. It logs JSON lines to standard ' +
      'output. SIGTERM and SIGINT stop it in an orderly way.',
    examples: [['start', 'with the settings of the environment']],
  })
  command.action(async () => {
    await import('../main.ts')
    // The service ends the process, also when it cannot start.
    await new Promise(() => {})
  })
}
