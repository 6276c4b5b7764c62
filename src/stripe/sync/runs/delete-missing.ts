import { inParallel } from '../../in-parallel.ts'
import { isMissing } from '../../stripe-errors.ts'
import { type ReadingTime, readingTime } from '../reading-time.ts'
import type { StripeObject } from '../stripe-object.ts'
import { SyncRefused } from '../sync-error.ts'
import { writeTombstones } from '../write-objects.ts'
import { countLiving, isMassDeletion, missingIds } from './confirm-missing.ts'
import type { RunProgress } from './run-progress.ts'
import { withPatience } from './with-patience.ts'

const AT_ONCE = 6

type Answer = { id: string; asOf: ReadingTime; object: StripeObject | null }

/**
 * After a complete listing: asks for each live row that it did not show, and marks as deleted what
 * Stripe does not have any more.
 *
 * @throws SyncRefused `mass_deletion_refused` when more than a fifth (and more than ten) would go and
 * the run is not forced; nothing is deleted then.
 */
export async function deleteMissing(progress: RunProgress): Promise<void> {
  const { db, run, action } = progress
  const living = await countLiving(db, action.resource, run.conferenceId)
  const gone: Answer[] = []
  for await (const ids of missingIds(db, action.resource, run)) {
    const answers = await inParallel(ids, AT_ONCE, (id) => ask(progress, id))
    await storeLiving(progress, answers)
    gone.push(...answers.filter(({ object }) => object === null))
    if (run.options.force) await bury(progress, gone.splice(0))
    else if (!progress.isDry) assertFew(gone.length, living)
  }
  await bury(progress, gone)
  // A dry run tells them all before it says no.
  if (progress.isDry && !run.options.force) assertFew(gone.length, living)
}

function assertFew(gone: number, living: number): void {
  if (!isMassDeletion(gone, living)) return
  throw new SyncRefused(
    'mass_deletion_refused',
    `At least ${gone} of ${living} objects are gone at Stripe. Nothing was deleted here: check the ` +
      'Stripe key, and run the sync again with force if this is right.',
  )
}

async function ask(progress: RunProgress, id: string): Promise<Answer> {
  const { resource } = progress.action
  const { stripe } = progress.connection
  progress.signal.throwIfAborted()
  const asOf = await readingTime(progress.db)
  try {
    const object = await withPatience(() => resource.retrieve(stripe, id), progress.signal)
    if (object.deleted === true) return { id, asOf, object: null }
    const whole = await withPatience(
      async () => (await resource.complete?.(stripe, object)) ?? object,
      progress.signal,
    )
    return { id, asOf, object: whole }
  } catch (error) {
    if (isMissing(error)) return { id, asOf, object: null }
    throw error
  }
}

/** The listing had missed them; or they were detached, which no list shows. */
async function storeLiving(progress: RunProgress, answers: readonly Answer[]): Promise<void> {
  const counts = { created: 0, updated: 0, unchanged: 0 }
  for (const { object, asOf } of answers) {
    if (object === null) continue
    if (progress.isDry) continue
    const { outcome } = await progress.action.sync(object, asOf)
    if (outcome === 'updated' || outcome === 'created') counts[outcome] += 1
    else counts.unchanged += 1
  }
  await progress.save({ ...progress.idle(), counts, requests: answers.length })
}

async function bury(progress: RunProgress, gone: readonly Answer[]): Promise<void> {
  const { db, run, action } = progress
  for (const { id } of gone) progress.note({ id, outcome: 'deleted', message: null })
  if (!progress.isDry) {
    for (const { id, asOf } of gone) {
      await writeTombstones(db, action.resource, run.conferenceId, [id], asOf)
    }
  }
  if (gone.length > 0) await progress.save({ ...progress.idle(), counts: { deleted: gone.length } })
}
