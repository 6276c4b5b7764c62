/** The members of zod's issues that `describeIssue` reads. */
export type Issue = {
  code: string
  message: string
  expected?: string
  origin?: string
  minimum?: number | bigint
  maximum?: number | bigint
  inclusive?: boolean
  format?: string
  values?: readonly unknown[]
  keys?: readonly string[]
  divisor?: number | bigint
  /** Of a member's name. */
  issues?: readonly Issue[]
}

const KINDS: Record<string, string> = {
  string: 'a string',
  number: 'a number',
  int: 'an integer',
  boolean: 'true or false',
  array: 'an array',
  object: 'an object',
  record: 'an object',
  null: 'null',
}

const FORMATS: Record<string, string> = {
  email: 'an email address',
  url: 'a URL',
  datetime: 'a date and time with a time zone, such as 2027-02-01T09:00:00Z',
  date: 'a date such as 2027-02-01',
  base64: 'base64',
}

// How zod's own messages begin. A schema's own message already says which rule is broken.
const MESSAGE_OF_ZOD = /^(Invalid|Too small|Too big|Unrecognized)/

/**
 * One broken rule of a schema as a predicate that follows the field's name: `is required`, `must be
 * at least 1`.
 *
 * @param isMissing whether the field is absent from the input.
 */
export function describeIssue(issue: Issue, isMissing: boolean): string {
  // A rule that compares fields has code `custom`, and says when this one is required.
  if (isMissing && issue.code !== 'custom') return 'is required'
  if (!MESSAGE_OF_ZOD.test(issue.message)) return issue.message
  switch (issue.code) {
    case 'invalid_type':
      return mustBe(KINDS[issue.expected ?? ''])
    case 'invalid_format':
      return mustBe(FORMATS[issue.format ?? ''])
    case 'invalid_value':
      return describeValues(issue.values ?? [])
    case 'too_small':
      return describeMinimum(issue)
    case 'too_big':
      return describeMaximum(issue)
    case 'not_multiple_of':
      return `must be a multiple of ${issue.divisor}`
    case 'unrecognized_keys':
      return `has unknown fields: ${(issue.keys ?? []).join(', ')}`
    case 'invalid_key':
      return describeName(issue.issues ?? [])
    default:
      return mustBe(undefined)
  }
}

function mustBe(kind: string | undefined): string {
  return kind === undefined ? 'is not valid' : `must be ${kind}`
}

function describeValues(values: readonly unknown[]): string {
  const list = values.map(String).join(', ')
  return values.length === 1 ? `must be ${list}` : `must be one of: ${list}`
}

function describeName([first]: readonly Issue[]): string {
  return first === undefined ? mustBe(undefined) : `has a name that ${describeIssue(first, false)}`
}

function describeMinimum({ origin, minimum, inclusive }: Issue): string {
  const unit = unitOf(origin, minimum)
  if (unit === null)
    return `must be ${inclusive === false ? 'greater than' : 'at least'} ${minimum}`
  return minimum === 1 ? 'must not be empty' : `must have at least ${minimum} ${unit}`
}

function describeMaximum({ origin, maximum, inclusive }: Issue): string {
  const unit = unitOf(origin, maximum)
  if (unit === null) return `must be ${inclusive === false ? 'less than' : 'at most'} ${maximum}`
  return `must have at most ${maximum} ${unit}`
}

function unitOf(origin: string | undefined, count: number | bigint | undefined): string | null {
  if (origin === 'string') return count === 1 ? 'character' : 'characters'
  if (origin === 'array') return count === 1 ? 'item' : 'items'
  return null
}
