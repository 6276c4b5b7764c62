import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { AccessRule } from '../http/access-control.ts'
import { callerOf } from '../http/access-control.ts'
import { conferenceParams, emptyBody } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { createRedeemer, redeemVoucher, releaseRedemption } from './redeem-voucher.ts'
import { listRedemptions, type Redemption } from './redemption.ts'
import { confirmRedemption } from './redemption-holds.ts'
import {
  codeParams,
  redeemBody,
  redemptionPage,
  redemptionParams,
  redemptionQuery,
  redemptionSchema,
  toRedemptionBody,
} from './voucher-schemas.ts'

const CONFERENCE = '/v1/conferences/:conference'
const access: AccessRule = { anyOf: ['vouchers:redeem'] }
const tags = ['Redemptions']

/** `C/vouchers/{code}/redemptions` and `C/redemptions`: the ticket shop calls them. */
export function redemptionRoutes(app: App, deps: RouteDeps): void {
  redeemRoute(app, deps)
  confirmRoute(app, deps)
  listRoute(app, deps)
  releaseRoute(app, deps)
}

function redeemRoute(app: App, { db, idempotency, failedLookups }: RouteDeps): void {
  const redeem = createRedeemer(db)
  app.post(
    `${CONFERENCE}/vouchers/:code/redemptions`,
    {
      config: { access },
      schema: {
        operationId: 'redeemVoucher',
        summary: 'Redeem a voucher, or hold a use of it',
        description:
          'Uses the voucher once (201). A repeat with the same reference returns the same redemption and does not use the voucher again (200). With `hold_seconds` the use is only held: no one else can take it, and it is available again when the hold ends, unless it was confirmed. A repeat returns the hold as it is and does not prolong it, also with other `hold_seconds`; without `hold_seconds` it confirms the hold (201). After the end of the hold, the same reference takes a new one.',
        tags,
        params: codeParams,
        body: redeemBody,
        response: { 200: redemptionSchema, 201: redemptionSchema },
      },
    },
    async (request, reply) => {
      const { conferenceId, actor } = callerOf(request)
      const { reference, hold_seconds: holdSeconds } = request.body
      const wanted = { code: request.params.code, reference, actor, holdSeconds }
      const { created, body } = await failedLookups.guard(request, async () => {
        if (request.headers['idempotency-key'] === undefined) {
          return toAnswer(await redeem(conferenceId, wanted))
        }
        return idempotency.run(request, async (trx) =>
          toAnswer(await redeemVoucher(trx, conferenceId, wanted)),
        )
      })
      return reply.code(created ? 201 : 200).send(body)
    },
  )
}

const toAnswer = ({ created, redemption }: { created: boolean; redemption: Redemption }) => ({
  created,
  body: toRedemptionBody(redemption),
})

function confirmRoute(app: App, { idempotency }: RouteDeps): void {
  app.post(
    `${CONFERENCE}/redemptions/:redemption/confirm`,
    {
      config: { access },
      schema: {
        operationId: 'confirmRedemption',
        summary: 'Confirm a hold',
        description:
          'The held use is taken. A repeat is a no-op. Fails if the voucher was deactivated, frozen or published since. A hold that has ended is confirmed too if a use is still free and the same order has not taken one: the buyer has paid. Otherwise it fails with `hold_expired`. Holds that were not confirmed are deleted 30 days after their end.',
        tags,
        params: redemptionParams,
        body: emptyBody,
        response: { 200: redemptionSchema },
      },
    },
    (request) => {
      const { conferenceId } = callerOf(request)
      return idempotency.run(request, async (trx) =>
        toRedemptionBody(await confirmRedemption(trx, conferenceId, request.params.redemption)),
      )
    },
  )
}

function listRoute(app: App, { reads }: RouteDeps): void {
  app.get(
    `${CONFERENCE}/redemptions`,
    {
      config: { access },
      schema: {
        operationId: 'listRedemptions',
        summary: 'List redemptions',
        description: 'Includes holds and released redemptions.',
        tags,
        params: conferenceParams,
        querystring: redemptionQuery,
        response: { 200: redemptionPage },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const { voucher, purchase: purchaseId, reference, ...page } = request.query
      const read = await reads.of(request)
      const found = await read((db) =>
        withTenant(db, { conferenceId }, (trx) =>
          listRedemptions(trx, conferenceId, { voucher, purchaseId, reference }, page),
        ),
      )
      return mapPage(found, toRedemptionBody)
    },
  )
}

function releaseRoute(app: App, { db }: RouteDeps): void {
  app.delete(
    `${CONFERENCE}/redemptions/:redemption`,
    {
      config: { access },
      schema: {
        operationId: 'releaseRedemption',
        summary: 'Release a redemption or a hold',
        description: 'The voucher gets the use back. A repeat is a no-op.',
        tags,
        params: redemptionParams,
        response: { 200: redemptionSchema },
      },
    },
    (request) => {
      const { conferenceId, actor } = callerOf(request)
      return withTenant(db, { conferenceId }, async (trx) =>
        toRedemptionBody(
          await releaseRedemption(trx, conferenceId, request.params.redemption, actor),
        ),
      )
    },
  )
}
