/** A step of the demo showed something else than it should. */
export class Mismatch extends Error {
  constructor(what: string, expected: unknown, actual: unknown) {
    super(`${what}: expected ${asText(expected)}, got ${asText(actual)}`)
    this.name = 'Mismatch'
  }
}

/** How the demo shows a value: texts as they are, the rest as JSON. */
export function asText(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing')
}
