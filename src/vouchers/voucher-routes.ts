import { withTenant } from '../db/tenant-scope.ts'
import type { AccessRule } from '../http/access-rule.ts'
import { callerOf } from '../http/caller.ts'
import { conferenceParams } from '../http/common-schemas.ts'
import { mapPage } from '../http/pages.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { activateVoucher, deactivateVoucher, type RequiredOff } from './change-voucher-state.ts'
import { toVoucherBody } from './voucher-body.ts'
import {
  codeParams,
  emptyBody,
  updateVoucherBody,
  voucherPage,
  voucherQuery,
  voucherSchema,
} from './voucher-schemas.ts'
import { assignVoucher, getVoucher, listVouchers } from './voucher-store.ts'

const PATH = '/v1/conferences/:conference/vouchers'
const WRITE: AccessRule = { anyOf: ['vouchers:write'] }
const tags = ['Vouchers']

/** `C/vouchers`. `requiredOff` says how many codes of a purchase must stay off. */
export function voucherRoutes(app: App, deps: RouteDeps & { requiredOff: RequiredOff }): void {
  readRoutes(app, deps)
  assignRoute(app, deps)
  stateRoutes(app, deps)
}

function readRoutes(app: App, { db, failedLookups }: RouteDeps): void {
  app.get(
    PATH,
    {
      config: { access: { anyOf: ['vouchers:read'], sponsor: true } },
      schema: {
        operationId: 'listVouchers',
        summary: 'List vouchers',
        description: 'A sponsor sees its own.',
        tags,
        params: conferenceParams,
        querystring: voucherQuery,
        response: { 200: voucherPage },
      },
    },
    async (request) => {
      const { conferenceId, sponsorId } = callerOf(request)
      const { code, state, purchase: purchaseId, batch: batchId, ...page } = request.query
      const found = await withTenant(db, { conferenceId }, (trx) =>
        listVouchers(trx, conferenceId, { code, state, purchaseId, batchId, sponsorId }, page),
      )
      return mapPage(found, toVoucherBody)
    },
  )

  app.get(
    `${PATH}/:code`,
    {
      config: { access: { anyOf: ['vouchers:redeem'] } },
      schema: {
        operationId: 'getVoucher',
        summary: 'Look up a code',
        description: 'Tells whether it can be redeemed now and, if not, why.',
        tags,
        params: codeParams,
        response: { 200: voucherSchema },
      },
    },
    (request) => {
      const { conferenceId } = callerOf(request)
      return failedLookups.guard(request, () =>
        withTenant(db, { conferenceId }, async (trx) =>
          toVoucherBody(await getVoucher(trx, conferenceId, request.params.code)),
        ),
      )
    },
  )
}

function assignRoute(app: App, { answers, failedLookups }: RouteDeps): void {
  app.patch(
    `${PATH}/:code`,
    {
      config: { access: WRITE },
      schema: {
        operationId: 'updateVoucher',
        summary: 'Note who holds a code',
        tags,
        params: codeParams,
        body: updateVoucherBody,
        response: { 200: voucherSchema },
      },
    },
    (request) => {
      const { conferenceId } = callerOf(request)
      const { assigned_to: assignedTo } = request.body
      return failedLookups.guard(request, () =>
        answers.once(request, async (trx) =>
          toVoucherBody(await assignVoucher(trx, conferenceId, request.params.code, assignedTo)),
        ),
      )
    },
  )
}

function stateRoutes(
  app: App,
  { answers, failedLookups, requiredOff }: RouteDeps & { requiredOff: RequiredOff },
): void {
  app.post(
    `${PATH}/:code/deactivate`,
    {
      config: { access: WRITE },
      schema: {
        operationId: 'deactivateVoucher',
        summary: 'Turn a code off',
        description: 'One that is off already stays as it is.',
        tags,
        params: codeParams,
        body: emptyBody,
        response: { 200: voucherSchema },
      },
    },
    (request) => {
      const { conferenceId } = callerOf(request)
      return failedLookups.guard(request, () =>
        answers.once(request, async (trx) =>
          toVoucherBody(await deactivateVoucher(trx, conferenceId, request.params.code)),
        ),
      )
    },
  )

  app.post(
    `${PATH}/:code/activate`,
    {
      config: { access: WRITE },
      schema: {
        operationId: 'activateVoucher',
        summary: 'Turn a code on again',
        description:
          'Refused with `voucher_refunded` when more codes would be on than are paid for.',
        tags,
        params: codeParams,
        body: emptyBody,
        response: { 200: voucherSchema },
      },
    },
    (request) => {
      const { conferenceId } = callerOf(request)
      return failedLookups.guard(request, () =>
        answers.once(request, async (trx) =>
          toVoucherBody(await activateVoucher(trx, conferenceId, request.params.code, requiredOff)),
        ),
      )
    },
  )
}
