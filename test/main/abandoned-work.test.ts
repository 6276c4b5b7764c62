import { beforeEach, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { withTenant } from '../../src/db/tenant-scope.ts'
import { createJobHandlers } from '../../src/job-handlers.ts'
import { workOnSyncRun } from '../../src/mirror/runs/sync-run-job.ts'
import { publishEvent } from '../../src/notifications/outbound-events.ts'
import { createEncryption } from '../../src/shared/cryptography.ts'
import { systemClock } from '../../src/shared/time.ts'
import { serviceTimers } from '../../src/worker.ts'
import { useSyncScene, type WiredShop } from '../mirror/sync-scene.ts'
import type { Body } from '../support/test-app.ts'
import { TEST_ENCRYPTION_KEY } from '../support/test-app.ts'

const scene = useSyncScene({ WEBHOOKS_ALLOW_LOOPBACK: 'true' })
let shop: WiredShop
beforeEach(async () => {
  shop = await scene.openWiredShop()
})

/** What the timer `sweep_abandoned` starts. */
async function sweep(): Promise<void> {
  const timer = serviceTimers(loadConfig({}), scene.deps.logger).find(
    ({ name }) => name === 'sweep_abandoned',
  )
  expect(timer).toBeDefined()
  const handlers = createJobHandlers({
    ...scene.deps,
    purchases: scene.deps.purchases as never,
    config: loadConfig({}),
    encryption: createEncryption(TEST_ENCRYPTION_KEY),
    mailer: null,
    clock: systemClock,
    stopping: new AbortController().signal,
  })
  const context = {
    jobId: '1',
    attempt: 1,
    isLastAttempt: false,
    signal: new AbortController().signal,
  }
  await handlers.get('sweep_abandoned')?.({ version: 1 }, context)
}

/** As graphile-worker leaves a job whose workers were all killed, long ago. */
const useUpJob = (key: string) =>
  scene.rows('update graphile_worker._private_jobs set attempts = max_attempts where key = $1', [
    key,
  ])

const start = (resource = 'customers') =>
  scene.request<Body & { id: string }>('POST', `${shop.path}/stripe/${resource}/sync`, { body: {} })
const shown = async (id: string) =>
  (await scene.request('GET', `${shop.path}/stripe/sync-runs/${id}`)).body
const makeOld = (id: string, more = '') =>
  scene.rows(`update sync_runs set updated_at = now() - interval '1 hour' ${more} where id = $1`, [
    id,
  ])

describe('a sync run', () => {
  it('that was killed eight times ends as failed, and another one can start (issue 8, line 22)', async () => {
    const { body } = await start()
    const killed = `, state = 'running', attempt = 8, lease_until = now() - interval '1 hour'`
    await makeOld(body.id, killed)
    await useUpJob(`run_sync:${body.id}`)
    expect((await start()).status).toBe(409)
    await sweep()
    expect(await shown(body.id)).toMatchObject({
      state: 'failed',
      error: { code: 'run_abandoned' },
    })
    expect((await start()).status).toBe(202)
  })

  it('is not ended while a process holds it or a job waits for it (issue 8, line 22)', async () => {
    const { body: waiting } = await start()
    await makeOld(waiting.id)
    const { body: held } = await start('coupons')
    await makeOld(held.id, `, state = 'running', lease_until = now() + interval '1 hour'`)
    await useUpJob(`run_sync:${held.id}`)
    await sweep()
    expect(await shown(waiting.id)).toMatchObject({ state: 'queued' })
    expect(await shown(held.id)).toMatchObject({ state: 'running' })
  })

  it('of a resource that this release does not have fails on its last try (issue 8, line 22)', async () => {
    const { body } = await start()
    await makeOld(body.id, `, resource = 'meters'`)
    const ref = { conferenceId: shop.conference, runId: body.id }
    const { signal } = new AbortController()
    const deps = { ...scene.deps, leaseSeconds: 60 }
    await expect(workOnSyncRun(deps, ref, { signal, isLastTry: false })).rejects.toThrow(/meters/)
    await workOnSyncRun(deps, ref, { signal, isLastTry: true })
    const [row] = await scene.rows('select state, error from sync_runs where id = $1', [body.id])
    expect(row).toMatchObject({ state: 'failed', error: { code: 'unknown_resource' } })
  })
})

describe('a webhook delivery whose job was used up', () => {
  async function stuckDelivery() {
    const url = 'http://127.0.0.1:9/hook'
    const { body: endpoint } = await scene.request<{ id: string }>(
      'POST',
      `${shop.path}/webhook-endpoints`,
      { body: { url } },
    )
    await withTenant(scene.db, { conferenceId: shop.conference }, (trx) =>
      publishEvent(trx, { conferenceId: shop.conference, type: 'purchase.paid', data: {} }),
    )
    const path = `${shop.path}/webhook-endpoints/${endpoint.id}/deliveries`
    const { body } = await scene.request<{ data: { id: string }[] }>('GET', path)
    const id = body.data[0]?.id ?? ''
    await useUpJob(`deliver_webhook:${id}`)
    const age = `update webhook_deliveries set next_attempt_at = now() - interval '1 hour'`
    await scene.rows(`${age} where id = $1`, [id])
    return { id, path }
  }

  const jobOf = async (id: string) => {
    const key = `deliver_webhook:${id}`
    const sql = 'select attempts from graphile_worker._private_jobs where key = $1'
    return (await scene.rows(sql, [key]))[0]
  }

  it('is sent later (issue 8, line 22)', async () => {
    const { id } = await stuckDelivery()
    await sweep()
    expect(await jobOf(id)).toEqual({ attempts: 0 })
  })

  it('can be replayed; one that waits for its next attempt cannot (issue 8, line 22)', async () => {
    const { id, path } = await stuckDelivery()
    const replay = () => scene.request('POST', `${path}/${id}/replay`, { body: {} })
    expect((await replay()).status).toBe(200)
    expect(await jobOf(id)).toEqual({ attempts: 0 })
    expect((await replay()).status).toBe(409)
  })
})
