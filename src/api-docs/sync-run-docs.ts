import type { ApiDocs, OperationDocs } from '../http/openapi/api-document.ts'
import { ALL_RESOURCES, mirrorNames } from '../mirror/resource-registry.ts'

const RUN = {
  id: 'sync_2fG7hQx0RkLmN4pTyVbWz',
  object: 'sync_run',
  resource: 'coupons',
  state: 'succeeded',
  started_by: 'api',
  ids: null,
  since: null,
  force: false,
  dry_run: false,
  counts: { fetched: 212, created: 3, updated: 1, unchanged: 208, deleted: 1, failed: 0 },
  requests: 4,
  duration_seconds: 0.91,
  details: [{ id: 'WINTER-10', outcome: 'deleted', message: null }],
  error: null,
  created_at: '2027-02-01T08:00:00.120Z',
  started_at: '2027-02-01T08:00:00.410Z',
  finished_at: '2027-02-01T08:00:01.320Z',
}

const QUEUED = {
  ...RUN,
  state: 'queued',
  counts: { fetched: 0, created: 0, updated: 0, unchanged: 0, deleted: 0, failed: 0 },
  requests: 0,
  duration_seconds: null,
  details: [],
  started_at: null,
  finished_at: null,
}

const REFUSED = {
  ...RUN,
  state: 'failed',
  error: {
    code: 'mass_deletion_refused',
    message: 'At least 43 of 212 objects are gone at Stripe. Nothing was deleted here: check the …',
    stripe_request_id: null,
  },
}

const START: OperationDocs = {
  problems: ['sync_running'],
  requests: {
    all: { summary: 'Everything', value: {} },
    dry: { summary: 'What would a sync change?', value: { dry_run: true } },
  },
  answers: { queued: { value: QUEUED } },
}

/** Words about the runs, for the API's document: made here, since every resource has its own route. */
export const SYNC_RUN_DOCS: ApiDocs = {
  ...Object.fromEntries(ALL_RESOURCES.map((resource) => [mirrorNames(resource).sync, START])),
  listSyncRuns: {
    answers: { page: { value: { data: [RUN], has_more: false, next_cursor: null } } },
  },
  getSyncRun: {
    answers: {
      succeeded: { value: RUN },
      refused: { summary: 'Too much is gone at once', value: REFUSED },
    },
  },
  cancelSyncRun: { problems: ['wrong_state'] },
}
