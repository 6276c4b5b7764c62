import { Document, isMap, isPair, isScalar, isSeq, Scalar, visit } from 'yaml'
import { buildApp } from '../app.ts'
import { loadConfig } from '../config.ts'
import { connect } from '../db/connect.ts'
import { createEncryption } from '../shared/cryptography.ts'
import { createLogger } from '../shared/logger.ts'
import { systemClock } from '../shared/time.ts'

const HEADER = '# Generated from the routes by `npm run openapi`. Do not edit.\n'

/** A dependency that routes use only when they are called. */
function uncalled<T extends object>(): T {
  return {} as T
}

/**
 * Builds openapi.yaml from the routes. Composes the service like main.ts, but uses no database, no
 * Stripe, no port and no setting of the environment.
 */
export async function buildOpenapi(): Promise<string> {
  const app = await buildApp({
    // The address of `npm start` and `npm run demo`.
    config: loadConfig({ PUBLIC_URL: 'http://127.0.0.1:3000' }),
    db: connect('postgres://127.0.0.1:1/none'),
    livenessLock: uncalled(),
    encryption: createEncryption(Buffer.alloc(32)),
    operatorApiKey: 'no-key-of-any-service',
    logger: createLogger('silent'),
    stripeAccounts: uncalled(),
    gateway: uncalled(),
    clients: uncalled(),
    clock: systemClock,
  })
  await app.ready()
  const document = app.swagger()
  await app.close()
  return HEADER + toYaml(document)
}

const WIDTH = 120

/**
 * Lists and maps that fit on one line take one, below the operations and components themselves; long
 * lists of values, and examples, fill their lines. Texts that a YAML 1.1 parser would read as a date
 * or a boolean are quoted, and those with a question mark, which PyYAML refuses inside of braces.
 */
function toYaml(value: unknown): string {
  const document = new Document(value, { aliasDuplicateObjects: false, compat: 'yaml-1.1' })
  preferShort(document.contents, 0, '')
  visit(document, {
    Scalar(_, node) {
      const { value: text } = node
      const isLine = typeof text === 'string' && !text.includes('\n')
      if (isLine && text.includes('?')) node.type = Scalar.QUOTE_DOUBLE
    },
  })
  const text = document.toString({
    lineWidth: WIDTH,
    blockQuote: 'literal',
    flowCollectionPadding: false,
    indentSeq: false,
  })
  return text
    .replace(/^( *)(- )?([[{])\n((?:\1 {2}.*\n)+)\1(?: {2})?([\]}])$/gm, fillLines)
    .replace(/^( *)([\w/-]+|"\w+"): (\{.*\})$/gm, belowKey)
}

/** The depth of an operation's or a component's own members. */
const MEMBERS = 3

function preferShort(node: unknown, depth: number, key: string): void {
  if (!isMap(node) && !isSeq(node)) return
  const isExample = depth > MEMBERS && key === 'value'
  const isPlainList = isSeq(node) && node.items.every(isScalar)
  const isShort = isMap(node) || node.items.length === 1 || key === 'parameters'
  const mayShorten = isShort && (depth >= MEMBERS || key === 'parameters')
  // A small map may stand alone on the line below its key.
  const isLeaf = isMap(node) && key !== 'properties' && levelsOf(node) <= 2
  const column = 2 * depth + (isLeaf ? 2 : key.length + 2)
  const fits = mayShorten && column + lengthOnOneLine(node.toJSON()) <= WIDTH
  node.flow = isExample || isPlainList || fits
  if (node.flow) return
  for (const item of node.items) {
    if (!isPair(item)) preferShort(item, depth + 1, key === 'examples' ? 'value' : '')
    else preferShort(item.value, depth + 1, isScalar(item.key) ? String(item.key.value) : '')
  }
}

/** The number of maps inside each other. */
function levelsOf(node: unknown): number {
  if (!isMap(node)) return 0
  return 1 + Math.max(0, ...node.items.map(({ value }) => levelsOf(value)))
}

// Other texts are written without quotes.
const NEEDS_QUOTES = /^[^A-Za-z/$]|[:#,[\]{}"']|^(true|false|null|yes|no|on|off)$/

/** To within a character or two; a text of several lines has no such length. */
function lengthOnOneLine(value: unknown): number {
  if (typeof value === 'string') {
    if (value.includes('\n')) return Number.POSITIVE_INFINITY
    return value.length + (NEEDS_QUOTES.test(value) ? 2 : 0)
  }
  if (typeof value !== 'object' || value === null) return String(value).length
  const names = Array.isArray(value) ? [] : Object.keys(value)
  const members: unknown[] = Object.values(value)
  const lengths = [...names.map((name) => name.length), ...members.map(lengthOnOneLine)]
  // `{`, `}`, and after each name or member `: ` or `, `, except after the last one.
  return lengths.reduce((sum, length) => sum + length + 2, 0)
}

/** A map that does not fit on the line of its key. */
function belowKey(line: string, indent: string, key: string, map: string): string {
  return line.length > WIDTH ? `${indent}${key}:\n${indent}  ${map}` : line
}

/** A flow collection that the library wrote with one member a line. */
function fillLines(
  _: string,
  outer: string,
  item: string | undefined,
  open: string,
  body: string,
  close: string,
): string {
  const indent = item === undefined ? outer : `${outer}  `
  const members = body
    .replaceAll(/\n */g, ' ')
    .replaceAll(/([[{]) /g, '$1')
    .replaceAll(/ ([\]}])/g, '$1')
    .trim()
  const lines = ['']
  // A line break inside a quoted text is a space to YAML, so it may be wrapped too.
  for (const member of members.split(/(?<=,) /)) {
    const line = lines.at(-1) ?? ''
    if (indent.length + line.length + member.length + 2 > WIDTH) lines.push(member)
    else lines[lines.length - 1] = line === '' ? member : `${line} ${member}`
  }
  return `${outer}${item ?? ''}${open}${lines.join(`\n${indent} `)}${close}`
}
