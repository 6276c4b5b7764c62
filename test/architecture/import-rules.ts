import { basename } from 'node:path'
import { importsOf, type SourceTree, withoutComments } from './source-tree.ts'

/** A file, and what in it breaks the rule. */
export type Violation = { file: string; imports: string }

/**
 * The folders of `src`, from the kits up to the composition roots. A file imports from its own line
 * and from lines above it in this list, never from lines below. Folders of one line may import each
 * other; circles of files are refused on their own.
 */
const LAYERS: readonly (readonly string[])[] = [
  ['src/shared/'],
  ['src/config.ts'],
  ['src/db/'],
  ['src/jobs/'],
  ['src/http/'],
  ['src/conferences/', 'src/sponsors/', 'src/catalog/', 'src/access/'],
  ['src/notifications/'],
  ['src/vouchers/'],
  ['src/payments/'],
  ['src/purchases/'],
  ['src/stripe/'],
  ['src/mirror/'],
  ['src/billing/'],
  ['src/stripe-events/'],
  ['src/reports/', 'src/privacy/'],
  ['src/cli/'],
]

/** Kits side by side: neither may import the other, whatever their order above. */
const STRANGERS: readonly (readonly [string, string])[] = [['src/http/', 'src/jobs/']]

/** The files of `src` itself compose the service, so they and the CLI import everything. */
const COMPOSITION = LAYERS.length

function layerOf(path: string): number {
  const layer = LAYERS.findIndex((folders) => folders.some((folder) => path.startsWith(folder)))
  return layer === -1 ? COMPOSITION : layer
}

function violations(
  tree: SourceTree,
  isForbidden: (file: string, imported: string) => boolean,
): Violation[] {
  return [...tree].flatMap(([file, text]) =>
    importsOf(file, withoutComments(text))
      .filter((imported) => isForbidden(file, imported))
      .map((imports) => ({ file, imports })),
  )
}

const isOurs = (path: string) => path.startsWith('src/')
const isCli = (path: string) => path.startsWith('src/cli/')

/** Imports that point from a kit or a domain to one that builds on it. */
export function importsAgainstTheDirection(tree: SourceTree): Violation[] {
  return violations(tree, (file, imported) => {
    if (!isOurs(imported) || isCli(file)) return false
    if (STRANGERS.some(([a, b]) => file.startsWith(a) && imported.startsWith(b))) return true
    return isCli(imported) || layerOf(imported) > layerOf(file)
  })
}

const SETTINGS_READERS = ['src/db/', 'src/jobs/', 'src/stripe/', 'src/cli/']

/** Domains and the HTTP kit take the values they need: only kits and roots know all settings. */
export function settingsInDomains(tree: SourceTree): Violation[] {
  return violations(
    tree,
    (file, imported) =>
      imported === 'src/config.ts' &&
      layerOf(file) !== COMPOSITION &&
      !SETTINGS_READERS.some((folder) => file.startsWith(folder)),
  )
}

const isHttp = (imported: string) =>
  imported.startsWith('src/http/') || /^(@fastify\/|fastify($|-))/.test(imported)

const mayKnowHttp = (file: string) =>
  file.startsWith('src/http/') ||
  /-(routes|schemas)\.ts$/.test(file) ||
  layerOf(file) === COMPOSITION ||
  file.startsWith('src/cli/')

/** HTTP in a use case: only routes, schemas and the composition roots know it. */
export function httpInDomains(tree: SourceTree): Violation[] {
  return violations(tree, (file, imported) => isHttp(imported) && !mayKnowHttp(file))
}

const PACKAGES: readonly { name: RegExp; allowedIn: RegExp }[] = [
  { name: /^xstate($|\/)/, allowedIn: /-machine\.ts$/ },
  { name: /^stripe($|\/)/, allowedIn: /^src\/(stripe|mirror|billing|stripe-events)\// },
  { name: /^openid-client($|\/)/, allowedIn: /^src\/access\/identity-provider\.ts$/ },
  // Loaded only in a process that exports traces.
  { name: /^@opentelemetry\//, allowedIn: /^src\/open-telemetry\.ts$/ },
  { name: /^fake-stripe($|\/)/, allowedIn: /$^/ },
  { name: /^(fake-stripe|demo|test|bench|scripts)\//, allowedIn: /$^/ },
]

/** Packages and folders that only some files, or none of `src`, may import. */
export function misplacedPackages(tree: SourceTree): Violation[] {
  return violations(tree, (file, imported) =>
    PACKAGES.some(({ name, allowedIn }) => name.test(imported) && !allowedIn.test(file)),
  )
}

const SERVICE =
  /^src\/purchases\/(bulk-purchase-service|refund-schemas|purchase-(routes|schemas))\.ts$/

/** Files outside `purchases/` that may import more of it than the service, and why. */
const BESIDE_THE_SERVICE: readonly { file: string; imports: string; reason: string }[] = [
  {
    file: 'src/app.ts',
    imports: 'src/purchases/purchase-store.ts',
    reason: 'Conferences take `hasPurchases` as a port, because they stand to the left.',
  },
  {
    file: 'src/database-gauges.ts',
    imports: 'src/purchases/purchase-flags.ts',
    reason: 'A metric counts flags of all conferences, for no caller.',
  },
  {
    file: 'src/stripe-events/claim-events.ts',
    imports: 'src/purchases/purchase-store.ts',
    reason: 'One statement claims events and matches their purchases, so it takes SQL text.',
  },
  ...['src/reports/report-queries.ts', 'src/reports/report-schemas.ts'].map((file) => ({
    file,
    imports: 'src/purchases/purchase-machine.ts',
    reason: 'A report has a row for each status.',
  })),
  ...['src/purchases/purchase-machine.ts', 'src/purchases/purchase-flags.ts'].map((imports) => ({
    file: 'src/cli/purchase-commands.ts',
    imports,
    reason: 'The help of a command lists the allowed values.',
  })),
]

/** Ways into purchases beside BulkPurchaseService. */
export function purchasesBesideTheService(tree: SourceTree): Violation[] {
  return violations(
    tree,
    (file, imported) =>
      imported.startsWith('src/purchases/') &&
      !file.startsWith('src/purchases/') &&
      !SERVICE.test(imported) &&
      !BESIDE_THE_SERVICE.some((each) => each.file === file && each.imports === imported),
  )
}

/** Groups of files that import each other in a circle, type-only imports included. */
export function importCircles(tree: SourceTree): string[][] {
  // Tarjan's algorithm: a strongly connected component of more than one file is a circle.
  const order = new Map<string, number>()
  const lowest = new Map<string, number>()
  const path: string[] = []
  const circles: string[][] = []

  function visit(file: string): void {
    order.set(file, order.size)
    lowest.set(file, order.size - 1)
    path.push(file)
    for (const imported of importsOf(file, tree.get(file) ?? '')) {
      if (!tree.has(imported)) continue
      if (!order.has(imported)) visit(imported)
      else if (!path.includes(imported)) continue
      lowest.set(file, Math.min(lowest.get(file) ?? 0, lowest.get(imported) ?? 0))
    }
    if (lowest.get(file) !== order.get(file)) return
    const circle = path.splice(path.lastIndexOf(file))
    if (circle.length > 1) circles.push(circle.toSorted())
  }

  for (const file of tree.keys()) if (!order.has(file)) visit(file)
  return circles
}

/** Files of one name in several folders: a search by name must find one file. */
export function repeatedFileNames(tree: SourceTree): string[] {
  const byName = new Map<string, string[]>()
  for (const file of tree.keys()) {
    const name = basename(file)
    byName.set(name, [...(byName.get(name) ?? []), file])
  }
  return [...byName.values()].filter((files) => files.length > 1).flat()
}
