import { z } from 'zod'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { type AccessRule, callerOf } from '../http/access-control.ts'
import { conferenceParams, pageQuery } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import type { Clock } from '../shared/time.ts'
import { beginErasure, type EraseDeps, finishErasure } from './erase-personal-data.ts'
import { getErasure, listErasures } from './erasure-store.ts'
import { exportPersonalData } from './export-personal-data.ts'
import {
  eraseBody,
  erasurePage,
  erasureParams,
  erasureSchema,
  exportBody,
  exportSchema,
  toErasureBody,
  toExportBody,
} from './privacy-schemas.ts'
import { findSubject } from './subject.ts'

const PATH = '/v1/conferences/:conference/privacy'
const access: AccessRule = { anyOf: ['settings:write'] }
const tags = ['Privacy']

export type PrivacyRouteDeps = RouteDeps & EraseDeps & { clock: Clock }

/** `C/privacy`: the data of a person or sponsor, and its erasure. */
export function privacyRoutes(app: App, deps: PrivacyRouteDeps): void {
  exportRoute(app, deps)
  eraseRoute(app, deps)
  readRoutes(app, deps)
}

function exportRoute(app: App, { db, clock }: PrivacyRouteDeps): void {
  app.post(
    `${PATH}/exports`,
    {
      config: { access },
      schema: {
        operationId: 'exportPersonalData',
        summary: 'Export the data of a person or sponsor',
        description:
          'Returns every row that an erasure would find, and the records of a sponsor. Voucher codes have their own export.',
        tags,
        params: conferenceParams,
        body: exportBody,
        response: { 200: exportSchema },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const subject = await withTenant(db, { conferenceId }, (trx) =>
        findSubject(trx, conferenceId, request.body),
      )
      const tables = await exportPersonalData(db, conferenceId, subject)
      return toExportBody(subject, tables, clock.now())
    },
  )
}

function eraseRoute(app: App, deps: PrivacyRouteDeps): void {
  app.post(
    `${PATH}/erasures`,
    {
      config: { access },
      schema: {
        operationId: 'erasePersonalData',
        summary: 'Erase the data of a person or sponsor',
        description:
          'Removes names, addresses and what else says who somebody is. Money, counts, ids and the history stay. Refused while money of the subject is not settled. What Stripe and backups keep: docs/privacy.md. It cannot be undone; it may be repeated.',
        tags,
        params: conferenceParams,
        body: eraseBody,
        response: { 200: erasureSchema },
      },
    },
    (request) => {
      const caller = callerOf(request)
      const { conferenceId } = caller
      return deps.idempotency.resume(request, {
        begin: async (trx) =>
          beginErasure(
            trx,
            deps.encryption,
            caller,
            await findSubject(trx, conferenceId, request.body),
          ),
        finish: async (erasureId) =>
          toErasureBody(await finishErasure(deps, { conferenceId, erasureId })),
      })
    },
  )
}

function readRoutes(app: App, { db }: PrivacyRouteDeps): void {
  app.get(
    `${PATH}/erasures`,
    {
      config: { access },
      schema: {
        operationId: 'listErasures',
        summary: 'List erasures',
        tags,
        params: conferenceParams,
        querystring: z.strictObject(pageQuery),
        response: { 200: erasurePage },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const page = await withTenant(db, { conferenceId }, (trx) =>
        listErasures(trx, conferenceId, request.query),
      )
      return mapPage(page, toErasureBody)
    },
  )

  app.get(
    `${PATH}/erasures/:erasure`,
    {
      config: { access },
      schema: {
        operationId: 'getErasure',
        summary: 'Get an erasure',
        tags,
        params: erasureParams,
        response: { 200: erasureSchema },
      },
    },
    (request) => {
      const { conferenceId } = callerOf(request)
      return withTenant(db, { conferenceId }, async (trx) =>
        toErasureBody(await getErasure(trx, conferenceId, request.params.erasure)),
      )
    },
  )
}
