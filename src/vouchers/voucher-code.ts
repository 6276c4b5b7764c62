import { customAlphabet } from 'nanoid'

/** 32 symbols without 0 and O, 1 and I: people read codes aloud and type them from paper. */
const CODE_ALPHABET = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ'

/** The maximum length of a code with its prefix. */
export const MAX_CODE_LENGTH = 100

/** With the longest random part (32 symbols), a code has at most 100 characters. */
export const MAX_PREFIX_LENGTH = 68

const randomPart = customAlphabet(CODE_ALPHABET)

/** Generates distinct codes; a test passes one whose codes collide. */
export type CodeMaker = (prefix: string, codeLength: number, count: number) => string[]

/**
 * Generates unguessable codes: the prefix and `codeLength` random symbols (12 of 32 are 60 bits).
 *
 * They are sorted, because rows that are inserted in index order touch each index page once.
 */
export const newCodes: CodeMaker = (prefix, codeLength, count) =>
  Array.from({ length: count }, () => prefix + randomPart(codeLength)).sort()

/**
 * The normal form of a code, by which codes are compared: it ignores case, spaces and hyphens. The check
 * constraint `vouchers_code_key_normal` contains the same rule in SQL.
 */
export function codeKey(code: string): string {
  return code.replace(/[ -]/g, '').toUpperCase()
}

/** The code for a log: at least its last eight symbols are hidden. */
export function maskCode(code: string): string {
  return `${code.slice(0, Math.max(0, Math.min(7, code.length - 8)))}****`
}
