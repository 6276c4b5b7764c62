import { expect, it } from 'vitest'
import { updateConference } from '../../src/conferences/conference-store.ts'
import { countRejectedKeys, recordUnusableKey } from '../../src/conferences/unusable-key.ts'
import { withSystem, withTenant } from '../../src/db/tenant-scope.ts'
import { createConference } from '../support/fixtures.ts'
import { useTestApp } from '../support/test-app.ts'
import { POLL_OPTIONS } from '../support/timeouts.ts'
import { asAnotherRequest } from '../support/watch-transactions.ts'

const app = useTestApp()

const WAITING = `select from pg_stat_activity
  where datname = current_database() and wait_event_type = 'Lock'`

const record = (conferenceId: string, problem: 'rejected' | 'missing' = 'rejected') =>
  withTenant(app.db, { conferenceId }, (trx) =>
    recordUnusableKey(trx, conferenceId, { problem, elapsedSeconds: 1 }),
  )

const rejectedKeys = () => withSystem(app.db, 'metrics', countRejectedKeys)

/** A key that was set two days ago and has been rejected for a day. */
async function openRejected(): Promise<string> {
  const { id } = await createConference(app)
  await app.rows(
    `update conferences set stripe_key_set_at = now() - interval '2 days',
       stripe_key_rejected_since = now() - interval '1 day', stripe_key_rejected_at = now()
     where id = $1`,
    [id],
  )
  return id
}

it('work that fails while a key is being set waits for its commit, and is retried soon (issue 8, line 3)', async () => {
  const id = await openRejected()
  expect(await record(id)).toMatchObject({ waitSeconds: 900, isAlarm: true })
  const recorded = await withTenant(app.db, { conferenceId: id }, async (trx) => {
    await updateConference(trx, id, {
      stripe_secret_key_sealed: 'another key',
      stripe_secret_key_last4: 'key2',
      livemode: false,
      stripe_account: null,
    })
    const answer = asAnotherRequest(() => record(id))
    await expect.poll(() => app.rows(WAITING), POLL_OPTIONS).toHaveLength(1)
    return { answer }
  })
  expect(await recorded.answer).toMatchObject({ waitSeconds: 2, isAlarm: false })
})

it('a conference counts as rejected until no rejection came for 30 minutes', async () => {
  const id = await openRejected()
  await record(id)
  expect(await rejectedKeys()).toBe(1)
  await app.rows(
    `update conferences set stripe_key_rejected_at = now() - interval '31 minutes' where id = $1`,
    [id],
  )
  expect(await rejectedKeys()).toBe(0)
  // The key worked meanwhile, so the waits begin again.
  expect(await record(id)).toMatchObject({ waitSeconds: 2 })
})

it('of parallel failures of one conference, one tells the operators', async () => {
  const id = await openRejected()
  const recorded = await Promise.all(Array.from({ length: 5 }, () => record(id)))
  expect(recorded.filter(({ isAlarm }) => isAlarm)).toHaveLength(1)
})

it('work of a conference without a key waits without an alarm', async () => {
  const { id } = await createConference(app, { stripe_secret_key: undefined })
  const before = await rejectedKeys()
  expect(await record(id, 'missing')).toMatchObject({ waitSeconds: 900, isAlarm: false })
  expect(await rejectedKeys()).toBe(before)
})
