import { customAlphabet } from 'nanoid'

/** 32 symbols without 0 and O, 1 and I: codes are read aloud and typed from paper. */
const CODE_ALPHABET = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ'

/** No code is longer than this, its prefix included. */
export const MAX_CODE_LENGTH = 100

/** The longest prefix: with the longest random part (32 symbols) a code stays within 100. */
export const MAX_PREFIX_LENGTH = 68

const randomPart = customAlphabet(CODE_ALPHABET)

/** Makes distinct codes; a test passes a poorer one to get collisions. */
export type CodeMaker = (prefix: string, codeLength: number, count: number) => string[]

/**
 * Unguessable codes: the prefix and `codeLength` random symbols (12 of 32 are 60 bits).
 *
 * Sorted, because rows that are inserted in the order of their index touch each page of it once.
 */
export const newCodes: CodeMaker = (prefix, codeLength, count) =>
  Array.from({ length: count }, () => prefix + randomPart(codeLength)).sort()

/**
 * What two spellings of one code share: matching ignores case, spaces and hyphens. The check
 * constraint `vouchers_code_key_normal` says the same in SQL.
 */
export function codeKey(code: string): string {
  return code.replace(/[ -]/g, '').toUpperCase()
}

/** The code as a log may show it: at least its last eight symbols are hidden. */
export function maskCode(code: string): string {
  return `${code.slice(0, Math.max(0, Math.min(7, code.length - 8)))}****`
}
