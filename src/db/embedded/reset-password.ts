import { EmbeddedPostgresError } from './embedded-postgres-error.ts'
import { SUPERUSER } from './init-cluster.ts'
import { advice } from './inspect-data-folder.ts'
import { runCommand } from './run-command.ts'
import type { ServerProgram } from './spawn-server.ts'

/**
 * Sets the superuser's password without knowing the old one, which PostgreSQL allows to whoever
 * owns the files, while no server runs: what a lost passwords.json needs.
 */
export async function resetPassword(program: ServerProgram, password: string): Promise<void> {
  const { folders, binaries, runner } = program
  const { command, args, options } = runner.command(binaries.postgres, [
    '--single',
    '-D',
    folders.data,
    'postgres',
  ])
  const result = await runCommand(
    { command, args, options: { ...options, cwd: folders.root } },
    // One statement a line; the password has no character that needs quoting.
    `alter role ${SUPERUSER} password '${password}'\n`,
  )
  // A single-user server reports a failed statement only in its output.
  if (result.ok && !/ERROR|FATAL|PANIC/.test(result.output)) return
  throw new EmbeddedPostgresError(
    `The passwords in ${folders.passwords} do not fit the data in ${folders.data}, and could not ` +
      `be reset. ${advice(folders.data)} PostgreSQL said:\n${result.output}`,
  )
}
