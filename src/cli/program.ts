import { Command, CommanderError } from 'commander'
import { SERVICE_VERSION } from '../shared/service-version.ts'
import { addChargesRun } from './charge-commands.ts'
import { EXIT, toFailure, toProblem } from './cli-errors.ts'
import type { Cli } from './command.ts'
import { addConferencesCreate, addConferencesList } from './conference-commands.ts'
import {
  addCouponsCreate,
  addCouponsDelete,
  addCouponsList,
  addCouponsRefresh,
} from './coupon-commands.ts'
import { addCustomersRefresh } from './customer-commands.ts'
import { addDrift } from './drift-commands.ts'
import { addEventsFindMissed, addEventsList, addEventsReplay } from './event-commands.ts'
import { addKeysCreate, addKeysList, addKeysRevoke } from './key-commands.ts'
import { addMigrate } from './migrate-command.ts'
import { addPlansCreate, addPlansList } from './plan-commands.ts'
import { addPurchasesList, addPurchasesReconcile, addPurchasesShow } from './purchase-commands.ts'
import { addSubscriptionsEnd, addSubscriptionsRefresh } from './subscription-commands.ts'
import { addSync, addSyncCancel, addSyncRuns } from './sync-commands.ts'
import { createPaint } from './terminal.ts'
import { addWebhooksCheck } from './webhook-commands.ts'

/**
 * Runs one command line.
 *
 * @param argv without the names of node and of the script.
 * @returns the exit code: 0 done, 1 failed, 2 the command line is not valid.
 */
export async function runCli(argv: readonly string[], cli: Cli): Promise<number> {
  try {
    await buildProgram(cli).parseAsync(argv, { from: 'user' })
    return EXIT.ok
  } catch (error) {
    // Asked for: help on standard output.
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok
    // The help itself was the answer to a line without a command.
    if (error instanceof CommanderError && error.code === 'commander.help') return EXIT.usage
    return report(error, argv, cli)
  }
}

function report(error: unknown, argv: readonly string[], { terminal: { err } }: Cli): number {
  const failure = toFailure(error)
  if (argv.includes('--json')) {
    err.write(`${JSON.stringify(toProblem(failure))}\n`)
  } else {
    const paint = createPaint(err.colours)
    err.write(`${paint.red('error:')} ${failure.detail} ${paint.dim(`(${failure.code})`)}\n`)
  }
  return failure.exitCode
}

const AFTER = `
The database is the one of DATABASE_URL, else the embedded one in DATA_DIR (.data), which the
command joins when the service runs on it and starts otherwise.

Exit codes: 0 done, 1 failed, 2 the command line is not valid. With --json, standard output holds
one JSON document as the HTTP API would answer it, and standard error a problem document.
`

/** The whole command line. Throws instead of ending the process; see run-cli.ts. */
export function buildProgram(cli: Cli): Command {
  const { out, err } = cli.terminal
  const program = new Command('sponsor-vouchers')
    .description('Conferences, API keys, purchases and Stripe events, from the command line.')
    .version(SERVICE_VERSION, '--version', 'print the version')
    .option('--json', 'print JSON instead of tables')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => out.write(text),
      writeErr: (text) => err.write(text),
      // Told once, by run-cli.ts.
      outputError: () => {},
      getOutHasColors: () => out.colours,
      getErrHasColors: () => err.colours,
    })
    .exitOverride()
    .helpCommand(false)
    .addHelpText('after', AFTER)

  program.commandsGroup('Set-up:')
  addMigrate(program, cli)
  addConferencesCreate(program, cli)
  addConferencesList(program, cli)
  addKeysCreate(program, cli)
  addKeysList(program, cli)
  addKeysRevoke(program, cli)

  program.commandsGroup('Purchases:')
  addPurchasesList(program, cli)
  addPurchasesShow(program, cli)
  addPurchasesReconcile(program, cli)

  program.commandsGroup('Billing:')
  addCustomersRefresh(program, cli)
  addChargesRun(program, cli)
  addCouponsList(program, cli)
  addCouponsCreate(program, cli)
  addCouponsDelete(program, cli)
  addCouponsRefresh(program, cli)
  addPlansCreate(program, cli)
  addPlansList(program, cli)
  addSubscriptionsEnd(program, cli)
  addSubscriptionsRefresh(program, cli)

  program.commandsGroup('Stripe:')
  addEventsList(program, cli)
  addEventsReplay(program, cli)
  addEventsFindMissed(program, cli)
  addWebhooksCheck(program, cli)
  addDrift(program, cli)
  addSync(program, cli)
  addSyncRuns(program, cli)
  addSyncCancel(program, cli)
  return program
}
