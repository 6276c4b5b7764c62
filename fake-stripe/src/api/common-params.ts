import type Stripe from 'stripe'
import { z } from 'zod'
import { emptyable, group, text } from './params.ts'

/** Values to set, and keys to remove (null). */
export type MetadataChange = Record<string, string | null>

const KEYS = 50
const KEY_LENGTH = 40
const VALUE_LENGTH = 500

/**
 * `metadata[key]=value`. An empty value removes the key; an empty `metadata` removes all keys
 * (null).
 *
 * @see https://docs.stripe.com/api/metadata
 */
export function metadataParam() {
  return z.unknown().transform((raw, context): MetadataChange | null => {
    if (raw === '') return null
    const problem = metadataProblem(raw)
    if (problem === undefined) {
      const entries = Object.entries(raw as Record<string, string>) // checked just above
      return Object.fromEntries(entries.map(([key, value]) => [key, value === '' ? null : value]))
    }
    context.addIssue({ code: 'custom', ...problem })
    return z.NEVER
  })
}

function metadataProblem(raw: unknown): { message: string; path?: string[] } | undefined {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw))
    return { message: 'Invalid object' }
  const entries: [string, unknown][] = Object.entries(raw)
  if (entries.length > KEYS)
    return { message: `Metadata can have up to ${KEYS} keys, but you passed in ${entries.length}.` }
  for (const [key, value] of entries) {
    if (key.length > KEY_LENGTH)
      return {
        message: `Metadata keys can have up to ${KEY_LENGTH} characters, but you passed in a key that is ${key.length} characters. Invalid key: ${key}`,
      }
    if (typeof value !== 'string') return { message: 'Invalid string', path: [key] }
    if (value.length > VALUE_LENGTH)
      return {
        message: `Metadata values can have up to ${VALUE_LENGTH} characters, but you passed in a value that is ${value.length} characters. Invalid value: ${value}`,
        path: [key],
      }
  }
  return undefined
}

/** Applies a change to existing metadata; undefined keeps it, null removes all of it. */
export function changeMetadata(
  current: Record<string, string>,
  change: MetadataChange | null | undefined,
): Record<string, string> {
  if (change === null) return {}
  const merged: MetadataChange = { ...current, ...change }
  const kept: [string, string][] = []
  for (const [key, value] of Object.entries(merged)) if (value !== null) kept.push([key, value])
  return Object.fromEntries(kept)
}

/** The parts of a postal address; an empty text removes one. */
export const addressShape = {
  city: emptyable(text()).optional(),
  country: emptyable(text({ max: 2 })).optional(),
  line1: emptyable(text()).optional(),
  line2: emptyable(text()).optional(),
  postal_code: emptyable(text()).optional(),
  state: emptyable(text()).optional(),
}

export function addressParam() {
  return emptyable(group(addressShape))
}

export type AddressInput = { [K in keyof typeof addressShape]?: string | null | undefined }

export function fullAddress(input: AddressInput): Stripe.Address {
  return {
    city: input.city ?? null,
    country: input.country ?? null,
    line1: input.line1 ?? null,
    line2: input.line2 ?? null,
    postal_code: input.postal_code ?? null,
    state: input.state ?? null,
  }
}
