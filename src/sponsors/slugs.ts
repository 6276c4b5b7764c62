import type { Tx } from '../db/connect.ts'
import { AppError } from '../shared/errors.ts'

// Letters that NFKD does not decompose.
const FOLDED: Record<string, string> = {
  æ: 'ae',
  œ: 'oe',
  ø: 'o',
  ß: 'ss',
  ł: 'l',
  đ: 'd',
  ð: 'd',
  þ: 'th',
  ı: 'i',
}

// A slug may have 200 characters, which leaves room for a suffix.
const MAX_LENGTH = 180

/** `Café Ørsted GmbH` → `cafe-orsted-gmbh`; `fallback` when no letter or digit is left. */
export function slugFromName(name: string, fallback: string): string {
  const slug = name
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[\u0300-\u036f'’]/g, '')
    .replace(/[^\x20-\x7e]/g, (letter) => FOLDED[letter] ?? ' ')
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, MAX_LENGTH)
    .replace(/^-+|-+$/g, '')
  return slug === '' ? fallback : slug
}

/**
 * `base`, or `base-2`, `base-3`, … with the smallest free number. Another transaction may use it before
 * this one commits, so the caller must retry the insert.
 *
 * @param base lower-case letters, digits and hyphens, as `slugFromName` makes it.
 */
export async function unusedSlug(
  trx: Tx,
  table: 'sponsors' | 'sponsor_levels',
  conferenceId: string,
  base: string,
): Promise<string> {
  const { rows } = await trx.raw<{ rows: { slug: string }[] }>(
    `with taken as (select slug from ?? where conference_id = ?
       and (slug = ? or slug like ?::text || '-%')),
     free as (
       select 1::bigint as n, ?::text as slug
       union select 2, ?::text || '-2'
       union select n, ?::text || '-' || n from taken,
         lateral (select substring(slug from '-([1-9][0-9]{0,8})$')::bigint + 1 as n) next
         where n is not null)
     select slug from free where slug not in (select slug from taken) order by n limit 1`,
    [table, conferenceId, base, base, base, base, base],
  )
  return rows[0]?.slug ?? base
}

export function slugTaken(slug: string | undefined): AppError {
  return new AppError('already_exists', `The slug "${slug ?? ''}" is already taken.`, {
    errors: [{ pointer: '/slug', detail: 'is taken' }],
  })
}
