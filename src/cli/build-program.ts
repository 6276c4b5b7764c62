import { Command } from 'commander'
import { SERVICE_VERSION } from '../shared/service-version.ts'
import type { Cli } from './cli.ts'
import { addChargesRun } from './commands/charges-run.ts'
import { addConferencesCreate } from './commands/conferences-create.ts'
import { addConferencesList } from './commands/conferences-list.ts'
import { addCouponsCreate } from './commands/coupons-create.ts'
import { addCouponsDelete } from './commands/coupons-delete.ts'
import { addCouponsList } from './commands/coupons-list.ts'
import { addCouponsRefresh } from './commands/coupons-refresh.ts'
import { addCustomersRefresh } from './commands/customers-refresh.ts'
import { addDrift } from './commands/drift.ts'
import { addEventsFindMissed } from './commands/events-find-missed.ts'
import { addEventsList } from './commands/events-list.ts'
import { addEventsReplay } from './commands/events-replay.ts'
import { addKeysCreate } from './commands/keys-create.ts'
import { addKeysList } from './commands/keys-list.ts'
import { addKeysRevoke } from './commands/keys-revoke.ts'
import { addMigrate } from './commands/migrate.ts'
import { addPlansCreate } from './commands/plans-create.ts'
import { addPlansList } from './commands/plans-list.ts'
import { addPurchasesList } from './commands/purchases-list.ts'
import { addPurchasesReconcile } from './commands/purchases-reconcile.ts'
import { addPurchasesShow } from './commands/purchases-show.ts'
import { addSubscriptionsEnd } from './commands/subscriptions-end.ts'
import { addSubscriptionsRefresh } from './commands/subscriptions-refresh.ts'
import { addSync } from './commands/sync.ts'
import { addSyncCancel } from './commands/sync-cancel.ts'
import { addSyncRuns } from './commands/sync-runs.ts'
import { addWebhooksCheck } from './commands/webhooks-check.ts'

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
