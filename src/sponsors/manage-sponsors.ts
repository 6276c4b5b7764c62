import type { Tx } from '../db/connect.ts'
import { addJob } from '../jobs/job-queue.ts'
import type { Caller } from '../shared/caller.ts'
import { invalidField } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import { slugFromName, slugTaken, unusedSlug } from './slugs.ts'
import { findLevel, type SponsorLevel } from './sponsor-levels.ts'
import {
  getSponsor,
  insertSponsor,
  lockSponsor,
  markCompsIssued,
  type Sponsor,
  type SponsorRow,
  updateSponsor,
} from './sponsor-store.ts'

/** `level` is an id or a slug. */
export type SponsorInput = {
  name: string
  slug?: string | undefined
  external_id?: string | null | undefined
  contact_email?: string | null | undefined
  level?: string | null | undefined
}

export type SponsorChanges = { [K in keyof SponsorInput]?: SponsorInput[K] | undefined }

type Deps = { issueComps: IssueComps }

/**
 * Creates a sponsor. With a level, it also issues the complimentary vouchers in the same transaction.
 *
 * @throws AppError `already_exists` for a slug or external id in use, `validation_failed` for an
 * unknown level.
 */
export async function createSponsor(
  trx: Tx,
  deps: Deps,
  caller: Caller,
  input: SponsorInput,
): Promise<Sponsor> {
  const { conferenceId } = caller
  const level = await levelOf(trx, conferenceId, input.level)
  const sponsor = await insertWithSlug(trx, conferenceId, input.slug, {
    id: newId('sponsor'),
    name: input.name,
    external_id: input.external_id ?? null,
    contact_email: input.contact_email ?? null,
    level_id: level?.id ?? null,
  })
  return issueFirstComps(trx, deps, caller, { sponsor, level, before: null })
}

/**
 * Issues the complimentary vouchers of a first level, once. A change from one level (`before`) to
 * another issues none.
 */
async function issueFirstComps(
  trx: Tx,
  deps: Deps,
  caller: Caller,
  change: { sponsor: Sponsor; level: SponsorLevel | null; before: string | null },
): Promise<Sponsor> {
  const { sponsor, level, before } = change
  const isFirst = level !== null && before === null && sponsor.compsIssuedAt === null
  if (!isFirst || level.compTicketCount === 0) return sponsor
  await deps.issueComps(trx, {
    conferenceId: caller.conferenceId,
    sponsorId: sponsor.id,
    sponsorSlug: sponsor.slug,
    count: level.compTicketCount,
    createdBy: caller.actor.id,
  })
  return markCompsIssued(trx, caller.conferenceId, sponsor.id)
}

async function insertWithSlug(
  trx: Tx,
  conferenceId: string,
  wanted: string | undefined,
  rest: Omit<SponsorRow, 'slug' | 'comps_issued_at' | 'created_at' | 'updated_at'>,
): Promise<Sponsor> {
  if (wanted !== undefined) {
    const sponsor = await insertSponsor(trx, conferenceId, { ...rest, slug: wanted })
    if (sponsor === null) throw slugTaken(wanted)
    return sponsor
  }
  const base = slugFromName(rest.name, 'sponsor')
  for (;;) {
    const slug = await unusedSlug(trx, 'sponsors', conferenceId, base)
    const sponsor = await insertSponsor(trx, conferenceId, { ...rest, slug })
    if (sponsor !== null) return sponsor
  }
}

async function levelOf(
  trx: Tx,
  conferenceId: string,
  reference: string | null | undefined,
): Promise<SponsorLevel | null> {
  if (reference === null || reference === undefined) return null
  const level = await findLevel(trx, conferenceId, reference)
  if (level === null)
    throw invalidField('/level', `This conference has no sponsor level "${reference}".`)
  return level
}

/** Updates the given fields. A first level issues its vouchers, as in `createSponsor`. */
export async function changeSponsor(
  trx: Tx,
  deps: Deps,
  caller: Caller,
  reference: string,
  input: SponsorChanges,
): Promise<Sponsor> {
  const { conferenceId } = caller
  const { id } = await getSponsor(trx, conferenceId, reference)
  const before = await lockSponsor(trx, conferenceId, id)
  const { level: levelReference, ...fields } = input
  const level = await levelOf(trx, conferenceId, levelReference)
  const sponsor = await updateSponsor(trx, conferenceId, id, {
    ...fields,
    level_id: levelReference === undefined ? undefined : (level?.id ?? null),
  })
  if (sponsor.name !== before.name || sponsor.contactEmail !== before.contactEmail) {
    await addJob(trx, 'update_customer', { conference_id: conferenceId, sponsor_id: id })
  }
  return issueFirstComps(trx, deps, caller, { sponsor, level, before: before.levelId })
}

type CompsOrder = {
  conferenceId: string
  sponsorId: string
  sponsorSlug: string
  /** 1 or more. */
  count: number
  /** The id of the key that set the level. */
  createdBy: string
}

/** Issues a sponsor's complimentary vouchers within `trx`. Implemented in vouchers/. */
export type IssueComps = (trx: Tx, order: CompsOrder) => Promise<void>
