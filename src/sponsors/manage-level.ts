import type { Tx } from '../db/connect.ts'
import { newId } from '../shared/ids.ts'
import { getLevel, insertLevel, slugTaken, updateLevel } from './level-store.ts'
import { slugFromName } from './slug-from-name.ts'
import type { SponsorLevel } from './sponsor.ts'
import { unusedSlug } from './unused-slug.ts'

export type LevelInput = { name: string; slug?: string | undefined; comp_ticket_count: number }
export type LevelChanges = { [K in keyof LevelInput]?: LevelInput[K] | undefined }

/** Creates a level. @throws AppError `already_exists` when the slug that was asked for is taken. */
export async function createLevel(
  trx: Tx,
  conferenceId: string,
  input: LevelInput,
): Promise<SponsorLevel> {
  const rest = {
    id: newId('sponsorLevel'),
    name: input.name,
    comp_ticket_count: input.comp_ticket_count,
  }
  if (input.slug !== undefined) {
    const level = await insertLevel(trx, conferenceId, { ...rest, slug: input.slug })
    if (level === null) throw slugTaken(input.slug)
    return level
  }
  const base = slugFromName(input.name, 'level')
  for (;;) {
    const slug = await unusedSlug(trx, 'sponsor_levels', conferenceId, base)
    const level = await insertLevel(trx, conferenceId, { ...rest, slug })
    if (level !== null) return level
  }
}

/** Changes a level; sponsors that have their vouchers keep exactly those. */
export async function changeLevel(
  trx: Tx,
  conferenceId: string,
  idOrSlug: string,
  changes: LevelChanges,
): Promise<SponsorLevel> {
  const { id } = await getLevel(trx, conferenceId, idOrSlug)
  return updateLevel(trx, conferenceId, id, changes)
}
