import { CsvError } from 'csv-parse'
import { parse } from 'csv-parse/sync'
import { z } from 'zod'
import { describeIssue } from '../shared/describe-issue.ts'
import { type FieldError, invalidField } from '../shared/errors.ts'

/** The rules of a person to whom a voucher is assigned, for JSON and for files. */
export const assigneeFields = {
  email: z
    .email()
    .max(254)
    .meta({ description: 'Case does not matter when addresses are compared.' }),
  // It stands in an e-mail. A name with line breaks could look like a part of its text.
  name: z
    .string()
    .trim()
    .min(1)
    .max(200)
    .regex(/^\P{Cc}*$/u, 'must not contain control characters such as line breaks'),
}

/** A line of a file, from 1 with the header. */
export type AssignmentLine = {
  line: number
  /** Null: any free voucher. */
  code: string | null
  email: string
  name: string | null
}

/** A rule that a line breaks. A line without a `column` is wrong as a whole. */
export type LineError = { line: number; column: string | null; detail: string }

/** What the API calls the place of an error: `line/3/email`. */
export const toFieldError = ({ line, column, detail }: LineError): FieldError => ({
  pointer: column === null ? `line/${line}` : `line/${line}/${column}`,
  detail,
})

// How an export writes a cell that a spreadsheet would run as a formula.
const NEUTRALISED = /^'(?=[-=+@\t\r\uFF1D\uFF0B\uFF0D\uFF20])/

const MAX_ASSIGNMENT_LINES = 5_000

/** Characters. Longer than any line with valid values. */
const MAX_LINE_LENGTH = 2_000

const COLUMNS = ['code', 'email', 'name'] as const

/** Columns of the export, which are ignored, so that an exported file can be filled in and uploaded. */
const EXPORTED: readonly string[] = [
  'times_used',
  'max_uses',
  'is_active',
  'valid_from',
  'valid_until',
  'assigned_at',
  'sent_at',
]

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** The text of a file. @throws AppError `validation_failed` if it is not UTF-8. */
export function assignmentText(bytes: Buffer): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw invalidField('/', 'must be text in UTF-8. Save the file as "CSV UTF-8".')
  }
}

type Parsed = { info: { lines: number }; record: string[] }

export type AssignmentFile = {
  lines: AssignmentLine[]
  /** How many lines have a code, but neither an address nor a name. */
  skipped: number
  errors: LineError[]
}

/**
 * Reads a CSV file of persons to whom vouchers are to be assigned: columns `email`, and if wanted `code` and
 * `name`, in any order, separated by commas, semicolons or tabs, as spreadsheets write them.
 */
export function parseAssignmentFile(text: string): AssignmentFile {
  const failed = (errors: LineError[]) => ({ lines: [], skipped: 0, errors })
  const rows = parseRows(text)
  if ('detail' in rows) return failed([rows])
  const [header, ...body] = rows
  if (header === undefined) {
    return failed([
      { line: 1, column: null, detail: 'The file is empty. Its first line must name the columns.' },
    ])
  }
  const names = header.record.map((name) => name.toLowerCase())
  const wrongHeader = headerErrors(names, header.info.lines)
  if (wrongHeader.length > 0) return failed(wrongHeader)
  if (body.length > MAX_ASSIGNMENT_LINES) {
    const detail = `The file has ${body.length} lines. Send at most ${MAX_ASSIGNMENT_LINES} at once.`
    return failed([{ line: MAX_ASSIGNMENT_LINES + 2, column: null, detail }])
  }
  return readBody(names, body)
}

function parseRows(text: string): Parsed[] | LineError {
  const firstLine = /^[^\r\n]*/.exec(text)?.[0] ?? ''
  const delimiter =
    ['\t', ';'].find((each) => firstLine.includes(each) && !firstLine.includes(',')) ?? ','
  try {
    const rows: unknown = parse(text, {
      bom: true,
      delimiter,
      trim: true,
      info: true,
      skip_empty_lines: true,
      relax_column_count: true,
      max_record_size: MAX_LINE_LENGTH,
    })
    // The library's types do not know `info` without `columns`.
    return (rows as Parsed[]).map(withoutEmptyEnd)
  } catch (error) {
    if (!(error instanceof CsvError)) throw error
    const line = typeof error['lines'] === 'number' ? error['lines'] : 1
    const isLong = error.code === 'CSV_MAX_RECORD_SIZE'
    return {
      line,
      column: null,
      detail: isLong
        ? `The line has more than ${MAX_LINE_LENGTH} characters, or a quotation mark is not closed.`
        : 'The quotation marks do not match. Inside a quoted cell, write two for one.',
    }
  }
}

/** Spreadsheets end every line with the empty cells of columns that were once used. */
function withoutEmptyEnd({ info, record }: Parsed): Parsed {
  const last = record.findLastIndex((cell) => cell !== '')
  return { info, record: record.slice(0, last + 1) }
}

function headerErrors(names: readonly string[], line: number): LineError[] {
  const known: readonly string[] = [...COLUMNS, ...EXPORTED]
  const wrong = names.flatMap((name, index): LineError[] => {
    if (!known.includes(name)) {
      // Not its name: without a header, it is a code or an address.
      const detail = `Column ${index + 1} is not known. The first line must name the columns: ${COLUMNS.join(', ')}.`
      return [{ line, column: null, detail }]
    }
    return names.indexOf(name) < index ? [{ line, column: name, detail: 'appears twice' }] : []
  })
  if (names.includes('email')) return wrong
  return [...wrong, { line, column: 'email', detail: 'is required in the header' }]
}

const fileLine = z.object({
  code: z.string().min(1).max(200).nullable(),
  email: assigneeFields.email,
  name: assigneeFields.name.nullable(),
})

function readBody(names: readonly string[], body: readonly Parsed[]): AssignmentFile {
  const file: AssignmentFile = { lines: [], skipped: 0, errors: [] }
  for (const { record, info } of body) {
    const line = info.lines
    const cell = (name: string) =>
      record[names.indexOf(name)]?.replace(NEUTRALISED, '') || undefined
    const given = { code: cell('code') ?? null, email: cell('email'), name: cell('name') ?? null }
    if (record.length > names.length) {
      file.errors.push({ line, column: null, detail: 'The line has more cells than the header.' })
    } else if (given.email === undefined && given.name === null) {
      file.skipped += 1
    } else {
      const parsed = fileLine.safeParse(given)
      if (parsed.success) file.lines.push({ line, ...parsed.data })
      else file.errors.push(...cellErrors(line, given, parsed.error))
    }
  }
  return file
}

const cellErrors = (line: number, given: { email: string | undefined }, error: z.ZodError) =>
  error.issues.map((issue): LineError => {
    const column = String(issue.path[0])
    const isMissing = column === 'email' && given.email === undefined
    return { line, column, detail: describeIssue(issue, isMissing) }
  })
