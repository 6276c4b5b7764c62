import { z } from 'zod'
import { mapPage } from '../db/pages.ts'
import { withSystem, withTenant } from '../db/tenant-scope.ts'
import { type AccessRule, callerOf } from '../http/access-control.ts'
import { conferenceParams, pageQuery } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import {
  conferencePage,
  conferenceSchema,
  createConferenceBody,
  createWebhookSecretBody,
  purchaseOptionsSchema,
  toConferenceBody,
  toPurchaseOptions,
  toWebhookSecretBody,
  updateConferenceBody,
  webhookSecretPage,
  webhookSecretParams,
  webhookSecretSchema,
} from './conference-schemas.ts'
import { getConference, listConferences, toConference } from './conference-store.ts'
import {
  assertMayChange,
  changeConference,
  createConference,
  findKeyAccount,
  type SettingsDeps,
} from './manage-conference.ts'
import { findSharingConferences, isAccountUsedByAnother } from './shared-accounts.ts'
import { addWebhookSecret, deleteWebhookSecret, listWebhookSecrets } from './stripe-credentials.ts'

/** `/v1/conferences` and `/v1/conferences/{conference}`. */
export function conferenceRoutes(app: App, deps: RouteDeps & SettingsDeps): void {
  const tags = ['Conferences']

  app.post(
    '/v1/conferences',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'createConference',
        summary: 'Create a conference',
        tags,
        body: createConferenceBody,
        response: { 201: conferenceSchema },
      },
    },
    async (request, reply) => {
      const { stripe_secret_key: key } = request.body
      const isShared = key !== undefined && (await isAccountUsedByAnother(deps.db, null, key, null))
      const body = await deps.idempotency.run(request, async (trx) =>
        toConferenceBody(
          await createConference(trx, deps, request.body),
          isShared,
          deps.stripeAccounts,
        ),
      )
      return reply.code(201).send(body)
    },
  )

  app.get(
    '/v1/conferences',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'listConferences',
        summary: 'List conferences',
        tags,
        querystring: z.strictObject(pageQuery),
        response: { 200: conferencePage },
      },
    },
    async (request) => {
      const page = await withSystem(deps.db, 'manage-conferences', (trx) =>
        listConferences(trx, request.query),
      )
      const sharing = await findSharingConferences(
        deps.db,
        page.data.map(({ id }) => id),
      )
      return mapPage(page, (row) =>
        toConferenceBody(toConference(row), sharing.has(row.id), deps.stripeAccounts),
      )
    },
  )

  app.get(
    '/v1/conferences/:conference',
    {
      config: { access: 'staff' },
      schema: {
        operationId: 'getConference',
        summary: 'Get a conference',
        tags,
        params: conferenceParams,
        response: { 200: conferenceSchema },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const sharing = await findSharingConferences(deps.db, [conferenceId])
      return withTenant(deps.db, { conferenceId }, async (trx) =>
        toConferenceBody(
          await getConference(trx, conferenceId),
          sharing.has(conferenceId),
          deps.stripeAccounts,
        ),
      )
    },
  )

  app.patch(
    '/v1/conferences/:conference',
    {
      config: { access: { anyOf: ['settings:write'] } },
      schema: {
        operationId: 'updateConference',
        summary: 'Change settings of a conference',
        description:
          'Staff may change the name, the allowed origins and the bank details. An operator may change every field.',
        tags,
        params: conferenceParams,
        body: updateConferenceBody,
        response: { 200: conferenceSchema },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      assertMayChange(caller, request.body)
      const { conferenceId } = caller
      const { stripe_secret_key: key } = request.body
      const keyAccount = await findKeyAccount(deps.db, deps, conferenceId, key)
      // Before the transaction: it would need a second connection.
      const isShared =
        key === undefined
          ? (await findSharingConferences(deps.db, [conferenceId])).has(conferenceId)
          : await isAccountUsedByAnother(deps.db, conferenceId, key, keyAccount.account)
      return deps.idempotency.run(request, async (trx) =>
        toConferenceBody(
          await changeConference(trx, deps, caller, request.body, keyAccount),
          isShared,
          deps.stripeAccounts,
        ),
      )
    },
  )
}

/** `C/purchase-options` */
export function purchaseOptionsRoute(app: App, { db }: RouteDeps): void {
  app.get(
    '/v1/conferences/:conference/purchase-options',
    {
      config: { access: { anyOf: ['purchases:read'], sponsor: true } },
      schema: {
        operationId: 'getPurchaseOptions',
        summary: 'Show how much can be bought, and how it can be paid',
        tags: ['Purchases'],
        params: conferenceParams,
        response: { 200: purchaseOptionsSchema },
      },
    },
    (request) => {
      const { conferenceId } = callerOf(request)
      return withTenant(db, { conferenceId }, async (trx) =>
        toPurchaseOptions(await getConference(trx, conferenceId)),
      )
    },
  )
}

const SECRETS_PATH = '/v1/conferences/:conference/webhook-secrets'
const access: AccessRule = { anyOf: ['settings:write'] }
const tags = ['Conferences']

/** `C/webhook-secrets`: the secrets with which Stripe signs its events. Responses mask them. */
export function webhookSecretRoutes(app: App, deps: RouteDeps): void {
  app.post(
    SECRETS_PATH,
    {
      config: { access },
      schema: {
        operationId: 'createWebhookSecret',
        summary: 'Add a signing secret of the Stripe webhook',
        description:
          'Several secrets are valid at the same time, so you can replace a secret without refusing events.',
        tags,
        params: conferenceParams,
        body: createWebhookSecretBody,
        response: { 201: webhookSecretSchema },
      },
    },
    async (request, reply) => {
      const { conferenceId } = callerOf(request)
      const body = await deps.idempotency.run(request, async (trx) =>
        toWebhookSecretBody(
          await addWebhookSecret(trx, deps.encryption, conferenceId, request.body.secret),
        ),
      )
      return reply.code(201).send(body)
    },
  )

  app.get(
    SECRETS_PATH,
    {
      config: { access },
      schema: {
        operationId: 'listWebhookSecrets',
        summary: 'List signing secrets, masked',
        tags,
        params: conferenceParams,
        querystring: z.strictObject(pageQuery),
        response: { 200: webhookSecretPage },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const page = await withTenant(deps.db, { conferenceId }, (trx) =>
        listWebhookSecrets(trx, conferenceId, request.query),
      )
      return mapPage(page, toWebhookSecretBody)
    },
  )

  app.delete(
    `${SECRETS_PATH}/:id`,
    {
      config: { access },
      schema: {
        operationId: 'deleteWebhookSecret',
        summary: 'Delete a signing secret',
        description: 'Events that are signed only with this secret are refused from now on.',
        tags,
        params: webhookSecretParams,
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      await withTenant(deps.db, caller, (trx) =>
        deleteWebhookSecret(trx, caller.conferenceId, request.params.id),
      )
      return reply.code(204).send(null)
    },
  )
}
