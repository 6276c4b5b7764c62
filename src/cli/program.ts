import { Command, CommanderError } from 'commander'
import { SERVICE_VERSION } from '../shared/service-version.ts'
import {
  addVouchersAssign,
  addVouchersAssignCsv,
  addVouchersUnassign,
} from './assignment-commands.ts'
import {
  addVoucherBatchesCreate,
  addVoucherBatchesList,
  addVoucherBatchesPublication,
  addVoucherBatchesPublish,
} from './batch-commands.ts'
import { addCatalogCommands } from './catalog-commands.ts'
import { addChargesRun } from './charge-commands.ts'
import { EXIT, toFailure, toProblem } from './cli-errors.ts'
import type { Cli } from './command.ts'
import {
  addConferencesCreate,
  addConferencesList,
  addConferencesUpdate,
} from './conference-commands.ts'
import {
  addCouponsCreate,
  addCouponsDelete,
  addCouponsList,
  addCouponsRefresh,
} from './coupon-commands.ts'
import { addCustomersRefresh } from './customer-commands.ts'
import { addDrift } from './drift-commands.ts'
import { addEncryptionRotate } from './encryption-commands.ts'
import { addEventsFindMissed, addEventsList, addEventsReplay } from './event-commands.ts'
import { addKeysCreate, addKeysList, addKeysRevoke } from './key-commands.ts'
import { addPlansCreate, addPlansList } from './plan-commands.ts'
import { addPrivacyErase, addPrivacyExport } from './privacy-commands.ts'
import {
  addPurchasesApprove,
  addPurchasesCancel,
  addPurchasesCreate,
  addPurchasesMarkPaid,
  addPurchasesRefund,
  addPurchasesRevoke,
} from './purchase-actions.ts'
import { addPurchasesList, addPurchasesReconcile, addPurchasesShow } from './purchase-commands.ts'
import {
  addPayoutsList,
  addPayoutsShow,
  addReportsMoney,
  addSponsorsStatement,
} from './report-commands.ts'
import { addMigrate, addStart } from './service-commands.ts'
import { addSponsorsCreate, addSponsorsList } from './sponsor-commands.ts'
import { addSponsorLevelsCreate, addSponsorLevelsList } from './sponsor-level-commands.ts'
import { addSubscriptionsEnd, addSubscriptionsRefresh } from './subscription-commands.ts'
import { addSync, addSyncCancel, addSyncRuns } from './sync-commands.ts'
import { createPaint } from './terminal.ts'
import {
  addUsersInvite,
  addUsersList,
  addUsersRemove,
  addUsersSignInLink,
} from './user-commands.ts'
import {
  addVouchersActivate,
  addVouchersConfirm,
  addVouchersDeactivate,
  addVouchersExport,
  addVouchersList,
  addVouchersRedeem,
  addVouchersRelease,
  addVouchersShow,
} from './voucher-commands.ts'
import { addWebhooksCheck } from './webhook-commands.ts'
import {
  addWebhookEndpointsCreate,
  addWebhookEndpointsDelete,
  addWebhookEndpointsDeliveries,
  addWebhookEndpointsList,
  addWebhookEndpointsReplay,
  addWebhookEndpointsRotateSecret,
  addWebhookEndpointsUpdate,
} from './webhook-endpoint-commands.ts'
import {
  addWebhookSecretsAdd,
  addWebhookSecretsDelete,
  addWebhookSecretsList,
} from './webhook-secret-commands.ts'

/**
 * Runs one command line.
 *
 * @param argv the arguments, without node and the script.
 * @returns the exit code: 0 done, 1 failed, 2 the command line is not valid.
 */
export async function runCli(argv: readonly string[], cli: Cli): Promise<number> {
  try {
    await buildProgram(cli).parseAsync(argv, { from: 'user' })
    return EXIT.ok
  } catch (error) {
    // --help or --version: the output is the answer.
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok
    // No command was given; commander has printed the help.
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
Commands use the database of DATABASE_URL. Without it they use the embedded database in DATA_DIR
(.data): a command joins the server of a running service, or starts the server itself.

Exit codes: 0 success, 1 failure, 2 invalid command line. With --json, standard output is one JSON
document in the format of the HTTP API; on failure, standard error is a problem document.
`

/** The whole command line. On an error it throws instead of ending the process. */
export function buildProgram(cli: Cli): Command {
  const { out, err } = cli.terminal
  const program = new Command('sponsor-vouchers')
    .description(
      'Run the service; manage conferences, API keys, purchases, billing and Stripe data.',
    )
    .version(SERVICE_VERSION, '--version', 'print the version')
    .option('--json', 'print JSON instead of tables')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => out.write(text),
      writeErr: (text) => err.write(text),
      // runCli reports each error once.
      outputError: () => {},
      getOutHasColors: () => out.colours,
      getErrHasColors: () => err.colours,
    })
    .exitOverride()
    .helpCommand(false)
    .addHelpText('after', AFTER)

  program.commandsGroup('Set-up:')
  addMigrate(program, cli)
  addStart(program)
  addConferencesCreate(program, cli)
  addConferencesList(program, cli)
  addConferencesUpdate(program, cli)
  addWebhookSecretsAdd(program, cli)
  addWebhookSecretsList(program, cli)
  addWebhookSecretsDelete(program, cli)
  addEncryptionRotate(program, cli)
  addKeysCreate(program, cli)
  addKeysList(program, cli)
  addKeysRevoke(program, cli)
  addUsersInvite(program, cli)
  addUsersList(program, cli)
  addUsersRemove(program, cli)
  addUsersSignInLink(program, cli)
  addSponsorsCreate(program, cli)
  addSponsorsList(program, cli)
  addSponsorsStatement(program, cli)
  addReportsMoney(program, cli)
  addSponsorLevelsCreate(program, cli)
  addSponsorLevelsList(program, cli)
  addCatalogCommands(program, cli)

  program.commandsGroup('Purchases:')
  addPurchasesList(program, cli)
  addPurchasesShow(program, cli)
  addPurchasesCreate(program, cli)
  addPurchasesApprove(program, cli)
  addPurchasesRevoke(program, cli)
  addPurchasesMarkPaid(program, cli)
  addPurchasesCancel(program, cli)
  addPurchasesRefund(program, cli)
  addPurchasesReconcile(program, cli)

  program.commandsGroup('Vouchers:')
  addVouchersList(program, cli)
  addVouchersShow(program, cli)
  addVouchersExport(program, cli)
  addVouchersRedeem(program, cli)
  addVouchersConfirm(program, cli)
  addVouchersRelease(program, cli)
  addVouchersDeactivate(program, cli)
  addVouchersActivate(program, cli)
  addVouchersAssign(program, cli)
  addVouchersUnassign(program, cli)
  addVouchersAssignCsv(program, cli)
  addVoucherBatchesCreate(program, cli)
  addVoucherBatchesList(program, cli)
  addVoucherBatchesPublish(program, cli)
  addVoucherBatchesPublication(program, cli)

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

  program.commandsGroup('Outbound webhooks:')
  addWebhookEndpointsCreate(program, cli)
  addWebhookEndpointsList(program, cli)
  addWebhookEndpointsUpdate(program, cli)
  addWebhookEndpointsDelete(program, cli)
  addWebhookEndpointsRotateSecret(program, cli)
  addWebhookEndpointsDeliveries(program, cli)
  addWebhookEndpointsReplay(program, cli)

  program.commandsGroup('Privacy:')
  addPrivacyExport(program, cli)
  addPrivacyErase(program, cli)

  program.commandsGroup('Stripe:')
  addEventsList(program, cli)
  addEventsReplay(program, cli)
  addEventsFindMissed(program, cli)
  addWebhooksCheck(program, cli)
  addPayoutsList(program, cli)
  addPayoutsShow(program, cli)
  addDrift(program, cli)
  addSync(program, cli)
  addSyncRuns(program, cli)
  addSyncCancel(program, cli)
  return program
}
