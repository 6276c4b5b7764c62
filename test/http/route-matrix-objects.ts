import { ALL_RESOURCES } from '../../src/mirror/resource-registry.ts'
import { tableOf } from '../../src/mirror/stripe-resource.ts'
import type { TestApp } from '../support/test-app.ts'

// Inserted as rows, because creating them through the API would call Stripe or a receiver.

/** An endpoint with a delivery. */
export async function fillOutgoing(
  app: TestApp,
  conference: string,
  mark: string,
): Promise<Record<string, string>> {
  const [endpoint, delivery] = [`we_${mark}`, `msg_${mark}`]
  await app.rows(
    `insert into webhook_endpoints (conference_id, id, url, secret_sealed, secret_last4)
     values ($1, $2, 'https://receiver.example/', 'v1:none', 'none')`,
    [conference, endpoint],
  )
  await app.rows(
    `insert into webhook_deliveries
       (conference_id, id, endpoint_id, type, body, state, finished_at)
     values ($1, $2, $3, 'purchase.paid', $4, 'failed', now())`,
    [
      conference,
      delivery,
      endpoint,
      JSON.stringify({ type: 'purchase.paid', timestamp: '2027-01-01T00:00:00Z', data: {} }),
    ],
  )
  return { 'webhook-endpoints': endpoint, delivery }
}

/** Marks the batch as published, except its codes, which stay redeemable here. */
export async function fillPublication(
  app: TestApp,
  conference: string,
  batch: string,
): Promise<void> {
  const change = `dc_${batch}`
  await app.rows(
    `insert into discount_changes
       (conference_id, id, kind, action, object_id, params, state, actor_kind, actor_id)
     values ($1, $2, 'coupon', 'create', $2, '{}', 'accepted', 'operator', 'x')`,
    [conference, change],
  )
  await app.rows(
    `insert into voucher_publications
       (conference_id, id, batch_id, state, coupon_id, coupon_change_id, published_by)
     values ($1, $2, $3, 'done', $4, $4, 'x')`,
    [conference, `pub_${batch}`, batch, change],
  )
}

/** A Stripe event, a sync run and an erasure, all finished. */
export async function fillInbox(
  app: TestApp,
  conference: string,
  mark: string,
): Promise<Record<string, string>> {
  const event = `evt_${mark}`
  await app.rows(
    `insert into stripe_events (conference_id, id, type, livemode, body, source, status,
       created_at_stripe, finished_at)
     values ($1, $2, 'charge.refunded', false, '{}', 'webhook', 'failed', now(), now())`,
    [conference, event],
  )
  const run = `sync_${mark}`
  await app.rows(
    `insert into sync_runs (conference_id, id, resource, started_by, state, finished_at)
     values ($1, $2, 'coupons', 'api', 'succeeded', now())`,
    [conference, run],
  )
  const erasure = `er_${mark}`
  await app.rows(
    `insert into erasures (conference_id, id, subject, token, state, requested_by, finished_at)
     values ($1, $2, 'person', $2, 'done', 'x', now())`,
    [conference, erasure],
  )
  return { event, run, erasure }
}

/** One row of every mirrored resource. */
export async function fillMirror(
  app: TestApp,
  conference: string,
  mark: string,
): Promise<Record<string, string>> {
  const ids: Record<string, string> = {}
  for (const resource of ALL_RESOURCES) {
    const id = `${resource.idPrefixes[0] ?? 'free_'}${mark}`
    await app.rows(
      `insert into ${tableOf(resource)} (conference_id, id, data, as_of)
       values ($1, $2, jsonb_build_object('id', $2::text), now())`,
      [conference, id],
    )
    ids[resource.name] = id
  }
  return ids
}
