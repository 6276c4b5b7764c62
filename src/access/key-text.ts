import { ID_PREFIXES } from '../shared/ids.ts'
import { KEY_ROLES, type KeyRole } from './api-key.ts'

const TEXT = new RegExp(`^sv_(${KEY_ROLES.join('|')})_([0-9A-Za-z]{21})_([0-9A-Za-z]{40})$`)

/**
 * `sv_<role>_<body of the id>_<secret>`: the id finds the row, the role tells people what they hold,
 * and the fixed beginning lets secret scanners know it as ours.
 */
export function keyText(role: KeyRole, id: string, secret: string): string {
  return `sv_${role}_${id.slice(ID_PREFIXES.apiKey.length + 1)}_${secret}`
}

/** The parts of a key's text, or null when it is not one of ours. */
export function parseKeyText(text: string): { role: string; id: string; secret: string } | null {
  const [, role, body, secret] = TEXT.exec(text) ?? []
  if (role === undefined || body === undefined || secret === undefined) return null
  return { role, id: `${ID_PREFIXES.apiKey}_${body}`, secret }
}
