// `npm run shape`: prints how the source is divided: files, lines, import circles, files per flow.
// `--list` also names the files. `--static` leaves out the flows, which need the embedded database.
import { readdir, readFile } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
// Every request and every job runs through them, so they say nothing about one flow.
const KITS = ['src/shared/', 'src/db/', 'src/http/', 'src/jobs/', 'src/access/', 'src/app.ts']
// Each fetch is also copied to the mirror, beside the flow and after it.
const ASIDE = 'src/mirror/'

type SourceFile = { path: string; lines: number; imports: string[] }

// `import … from`, `export … from`, `import '…'` and `import('…')`, type-only ones included.
const IMPORT = /(?:\bfrom\s+|\bimport\s+|\bimport\()'(\.{1,2}\/[^']+)'/g

async function readSource(folder: string): Promise<SourceFile[]> {
  const names = await readdir(join(ROOT, folder), { recursive: true })
  const paths = names.filter((name) => name.endsWith('.ts')).map((name) => `${folder}/${name}`)
  return Promise.all(
    paths.toSorted().map(async (path) => {
      const text = await readFile(join(ROOT, path), 'utf8')
      const imports = [...text.matchAll(IMPORT)].map(([, to = '']) => join(dirname(path), to))
      return { path, lines: text.split('\n').length - 1, imports: [...new Set(imports)] }
    }),
  )
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const key = keyOf(item)
    groups.set(key, [...(groups.get(key) ?? []), item])
  }
  return groups
}

/** The value below which this share of the sorted values lies. */
function percentile(sorted: number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

function importedOnce(files: SourceFile[]): string[] {
  const importers = new Map<string, number>()
  for (const to of files.flatMap(({ imports }) => imports)) {
    importers.set(to, (importers.get(to) ?? 0) + 1)
  }
  return files.map(({ path }) => path).filter((path) => importers.get(path) === 1)
}

function repeatedNames(files: SourceFile[]): [string, string[]][] {
  const byName = groupBy(files, ({ path }) => basename(path))
  return [...byName]
    .map(([name, same]): [string, string[]] => [name, same.map(({ path }) => path)])
    .filter(([, paths]) => paths.length > 1)
}

/** Groups of files that import each other, directly or through others of the group. */
function circles(files: SourceFile[]): string[][] {
  const importsOf = new Map(files.map(({ path, imports }) => [path, imports]))
  const reaches = new Map(files.map(({ path }) => [path, reachableFrom(path, importsOf)]))
  const found: string[][] = []
  const seen = new Set<string>()
  for (const [path, reached] of reaches) {
    if (!reached.has(path) || seen.has(path)) continue
    const group = [...reached].filter((other) => reaches.get(other)?.has(path) === true)
    for (const other of group) seen.add(other)
    found.push(group.toSorted())
  }
  return found
}

function reachableFrom(path: string, importsOf: Map<string, string[]>): Set<string> {
  const reached = new Set<string>()
  const open = [...(importsOf.get(path) ?? [])]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (reached.has(next)) continue
    reached.add(next)
    open.push(...(importsOf.get(next) ?? []))
  }
  return reached
}

/** `purchases 12, payments 4, …`: how many of the files stand in which folder of `src`. */
function byFolder(paths: string[]): string {
  const folders = groupBy(paths, (path) => path.split('/').slice(1, -1)[0] ?? '(top)')
  return [...folders]
    .map(([folder, inside]): [string, number] => [folder, inside.length])
    .toSorted(([, a], [, b]) => b - a)
    .map(([folder, count]) => `${folder} ${count}`)
    .join(', ')
}

const isKit = (path: string) => KITS.some((kit) => path.startsWith(kit))

function print(title: string, value: string | number, details: string[] = []): void {
  process.stdout.write(`${title.padEnd(34)} ${value}\n`)
  if (process.argv.includes('--list')) {
    for (const line of details) process.stdout.write(`    ${line}\n`)
  }
}

function printSizes(files: SourceFile[]): void {
  const sorted = files.map(({ lines }) => lines).toSorted((a, b) => a - b)
  const largest = files.toSorted((a, b) => b.lines - a.lines).slice(0, 10)
  print('files', files.length, [byFolder(files.map(({ path }) => path))])
  print(
    'lines',
    sorted.reduce((sum, lines) => sum + lines, 0),
  )
  print('lines per file: median', percentile(sorted, 0.5))
  print('lines per file: 90th percentile', percentile(sorted, 0.9))
  print(
    'lines per file: maximum',
    sorted.at(-1) ?? 0,
    largest.map(({ path, lines }) => `${lines} ${path}`),
  )
}

function printStructure(files: SourceFile[]): void {
  const once = importedOnce(files)
  const repeated = repeatedNames(files)
  const groups = circles(files)
  print('files imported by exactly one', once.length, once)
  print(
    'file names that occur twice',
    repeated.length,
    repeated.map(([name, paths]) => `${name}: ${paths.join(' ')}`),
  )
  print(
    'import circles, with type imports',
    groups.length,
    groups.map((group) => `${group.length} files: ${group.join(' ')}`),
  )
}

async function printFlows(): Promise<void> {
  const { measureFlows } = await import('./flow-coverage.ts')
  const kits = KITS.map((kit) => relative('src', kit)).join(', ')
  process.stdout.write(`\nfiles per flow, without kits (${kits}); in brackets with them\n`)
  for (const { name, files } of await measureFlows()) {
    const own = files.filter((path) => !isKit(path))
    const main = own.filter((path) => !path.startsWith(ASIDE))
    const aside = own.length === main.length ? '' : `, and mirror ${own.length - main.length}`
    print(name, `${main.length} [${files.length}]: ${byFolder(main)}${aside}`, files)
  }
}

const files = await readSource('src')
printSizes(files)
printStructure(files)
if (!process.argv.includes('--static')) await printFlows()
