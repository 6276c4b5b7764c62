import type { Command } from 'commander'
import { z } from 'zod'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { pageQuery } from '../http/common-schemas.ts'
import {
  createEndpointBody,
  deliveryQuery,
  rotateSecretBody,
  toDeliveryBody,
  toEndpointBody,
  toEndpointWithSecretBody,
  updateEndpointBody,
} from '../notifications/outbound-webhook-schemas.ts'
import { listDeliveries, replayDelivery } from '../notifications/webhook-deliveries.ts'
import {
  deleteEndpoint,
  insertEndpoint,
  listEndpoints,
  rotateEndpointSecret,
  updateEndpoint,
} from '../notifications/webhook-endpoints.ts'
import { findConference, withSession } from './cli-session.ts'
import {
  addCommand,
  addPageOptions,
  answer,
  type Cli,
  parseInput,
  toFields,
  wholeNumber,
} from './command.ts'
import { type Column, momentText, renderFields, renderPage } from './table.ts'
import type { Paint } from './terminal.ts'

type EndpointBody = ReturnType<typeof toEndpointBody>
type DeliveryBody = ReturnType<typeof toDeliveryBody>

const EXAMPLE = 'we_V1StGXR8Z5jdHi6BmyT7a --conference devconf'

const FLAGS = { event_types: '--event-type' }

/** The options of `create` and `update` as the fields of the API. */
function fieldsOf(command: Command): { conference: string; fields: Record<string, unknown> } {
  const { conference, event_type, all_events, ...fields } = toFields(command.opts())
  return {
    conference: String(conference),
    fields: {
      ...fields,
      ...(event_type === undefined ? {} : { event_types: event_type }),
      ...(all_events === true ? { event_types: null } : {}),
    },
  }
}

/** `webhook-endpoints:create` */
export function addWebhookEndpointsCreate(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'webhook-endpoints:create',
    summary: 'Add an endpoint that receives our webhooks',
    details: 'The signing secret is printed once and is not shown again.',
    examples: [
      [
        'webhook-endpoints:create --conference devconf --url https://portal.example/hooks --event-type purchase.paid vouchers.issued',
        'two types of events',
      ],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .requiredOption('--url <url>', 'the address; must be https')
    .option('--description <text>', 'what it is for')
    .option('--event-type <type...>', 'only these types (default: all)')

  command.action(async () => {
    const { conference, fields } = fieldsOf(command)
    const body = await withSession(cli, async ({ db, encryption, config }) => {
      const schema = createEndpointBody(config.webhooksAllowLoopback)
      const { url, description, event_types: eventTypes } = parseInput(schema, fields, FLAGS)
      const caller = await findConference(db, conference)
      return withTenant(db, caller, async (trx) =>
        toEndpointWithSecretBody(
          await insertEndpoint(trx, encryption, caller.conferenceId, {
            url,
            description,
            eventTypes,
          }),
        ),
      )
    })
    answer(cli, command, body, (paint) => renderEndpoint(body, paint))
  })
}

function renderEndpoint(body: EndpointBody, paint: Paint): string {
  return renderFields(
    [
      ['id', body.id],
      ['url', body.url],
      ['events', eventsOf(body)],
      ['state', stateOf(body)],
      ['secret', body.secret],
    ],
    paint,
  )
}

const eventsOf = ({ event_types: types }: EndpointBody) => types?.join(', ') ?? 'all'
const stateOf = ({ enabled, disabled_by: by }: EndpointBody) =>
  enabled ? 'enabled' : `disabled by ${by}`

const listInput = z.strictObject({ ...pageQuery, conference: z.string().min(1) })

/** `webhook-endpoints:list` */
export function addWebhookEndpointsList(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'webhook-endpoints:list',
    summary: "List a conference's webhook endpoints, newest first",
    examples: [['webhook-endpoints:list --conference devconf', 'also those that are disabled']],
  }).requiredOption('--conference <slug|id>', 'the conference')

  addPageOptions(command).action(async () => {
    const { conference, ...query } = parseInput(listInput, toFields(command.opts()))
    const page = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, (trx) => listEndpoints(trx, caller.conferenceId, query))
    })
    const body = mapPage(page, toEndpointBody)
    answer(cli, command, body, (paint) => renderPage(body, COLUMNS, paint))
  })
}

const COLUMNS: readonly Column<EndpointBody>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'URL', cell: ({ url }) => url, paint: (_endpoint, paint) => paint.bold },
  { head: 'EVENTS', cell: eventsOf },
  {
    head: 'STATE',
    cell: stateOf,
    paint: ({ enabled }, paint) => (enabled ? paint.green : paint.yellow),
  },
]

/** `webhook-endpoints:update` */
export function addWebhookEndpointsUpdate(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'webhook-endpoints:update <endpoint>',
    summary: 'Update, disable or enable a webhook endpoint',
    details: 'Events that occur while an endpoint is disabled are not delivered later.',
    examples: [
      [`webhook-endpoints:update ${EXAMPLE} --no-enabled`, 'nothing is sent until --enabled'],
      [`webhook-endpoints:update ${EXAMPLE} --all-events`, 'also the types of later releases'],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .option('--url <url>', 'the address; must be https')
    .option('--description <text>', 'what it is for')
    .option('--event-type <type...>', 'only these types')
    .option('--all-events', 'all types')
    .option('--enabled', 'send events again')
    .option('--no-enabled', 'send nothing')

  command.action(async (id: string) => {
    const { conference, fields } = fieldsOf(command)
    const body = await withSession(cli, async ({ db, config }) => {
      const schema = updateEndpointBody(config.webhooksAllowLoopback)
      const { event_types: eventTypes, ...changes } = parseInput(schema, fields, FLAGS)
      const caller = await findConference(db, conference)
      return withTenant(db, caller, async (trx) =>
        toEndpointBody(
          await updateEndpoint(trx, caller.conferenceId, id, { ...changes, eventTypes }),
        ),
      )
    })
    answer(cli, command, body, (paint) => renderEndpoint(body, paint))
  })
}

/** `webhook-endpoints:delete` */
export function addWebhookEndpointsDelete(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'webhook-endpoints:delete <endpoint>',
    summary: 'Delete a webhook endpoint and its deliveries',
    examples: [[`webhook-endpoints:delete ${EXAMPLE}`, 'nothing more is sent to it']],
  }).requiredOption('--conference <slug|id>', 'the conference')

  command.action(async (id: string, { conference }: { conference: string }) => {
    await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, (trx) => deleteEndpoint(trx, caller.conferenceId, id))
    })
    answer(cli, command, { id, deleted: true }, () => `Deleted ${id}.\n`)
  })
}

/** `webhook-endpoints:rotate-secret` */
export function addWebhookEndpointsRotateSecret(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'webhook-endpoints:rotate-secret <endpoint>',
    summary: 'Replace the signing secret of a webhook endpoint',
    details:
      'The new secret is printed once. During the overlap, deliveries are signed with both secrets.',
    examples: [
      [`webhook-endpoints:rotate-secret ${EXAMPLE} --overlap-seconds 3600`, 'an hour to switch'],
    ],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .option(
      '--overlap-seconds <number>',
      'how long the old secret signs too (default: a day)',
      wholeNumber,
    )

  command.action(async (id: string) => {
    const { conference, ...fields } = toFields(command.opts())
    const { overlap_seconds: overlap } = parseInput(rotateSecretBody, fields)
    const body = await withSession(cli, async ({ db, encryption }) => {
      const caller = await findConference(db, String(conference))
      return withTenant(db, caller, async (trx) =>
        toEndpointWithSecretBody(
          await rotateEndpointSecret(trx, encryption, caller.conferenceId, id, overlap),
        ),
      )
    })
    answer(cli, command, body, (paint) => renderEndpoint(body, paint))
  })
}

const deliveryInput = deliveryQuery.extend({ conference: z.string().min(1) })

/** `webhook-endpoints:deliveries` */
export function addWebhookEndpointsDeliveries(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'webhook-endpoints:deliveries <endpoint>',
    summary: 'List deliveries of a webhook endpoint, newest first',
    examples: [[`webhook-endpoints:deliveries ${EXAMPLE} --state failed`, 'those to replay']],
  })
    .requiredOption('--conference <slug|id>', 'the conference')
    .option('--state <state>', 'pending, delivered or failed')
    .option('--type <type>', 'only events of this type')

  addPageOptions(command).action(async (endpoint: string) => {
    const { conference, state, type, ...query } = parseInput(
      deliveryInput,
      toFields(command.opts()),
    )
    const page = await withSession(cli, async ({ db }) => {
      const caller = await findConference(db, conference)
      return withTenant(db, caller, (trx) =>
        listDeliveries(trx, caller.conferenceId, endpoint, { state, type }, query),
      )
    })
    const body = mapPage(page, toDeliveryBody)
    answer(cli, command, body, (paint) => renderPage(body, DELIVERY_COLUMNS, paint))
  })
}

const DELIVERY_COLUMNS: readonly Column<DeliveryBody>[] = [
  { head: 'ID', cell: ({ id }) => id },
  { head: 'EVENT', cell: ({ payload }) => payload.type },
  {
    head: 'STATE',
    cell: ({ state }) => state,
    paint: ({ state }, paint) => (state === 'failed' ? paint.red : paint.dim),
  },
  { head: 'ATTEMPTS', cell: ({ attempts }) => attempts, align: 'right' },
  { head: 'STATUS', cell: ({ last_status: status }) => status, align: 'right' },
  { head: 'PROBLEM', cell: ({ last_error: error }) => error },
  { head: 'CREATED (UTC)', cell: ({ created_at: at }) => momentText(at) },
]

/** `webhook-endpoints:replay` */
export function addWebhookEndpointsReplay(program: Command, cli: Cli): void {
  const command = addCommand(program, {
    usage: 'webhook-endpoints:replay <endpoint> <delivery>',
    summary: 'Send a finished delivery again',
    details: 'The webhook-id stays the same, so the receiver can recognise a duplicate.',
    examples: [
      [
        'webhook-endpoints:replay we_V1StGXR8Z5jdHi6BmyT7a msg_3fQ8sLm1Zk2Vx9Tr4Yb6c --conference devconf',
        'the worker of the service sends it',
      ],
    ],
  }).requiredOption('--conference <slug|id>', 'the conference')

  command.action(
    async (endpoint: string, delivery: string, { conference }: { conference: string }) => {
      const body = await withSession(cli, async ({ db }) => {
        const caller = await findConference(db, conference)
        return withTenant(db, caller, async (trx) =>
          toDeliveryBody(await replayDelivery(trx, caller.conferenceId, endpoint, delivery)),
        )
      })
      answer(cli, command, body, () => `Sending ${body.id} again.\n`)
    },
  )
}
