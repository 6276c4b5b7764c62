import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** The text of each file, by its path from the root of the repository. */
export type SourceTree = ReadonlyMap<string, string>

/** Reads every TypeScript file of a folder of this repository. */
export async function readSourceTree(folder: string): Promise<SourceTree> {
  const names = await readdir(join(ROOT, folder), { recursive: true })
  const paths = names.filter((name) => name.endsWith('.ts')).map((name) => join(folder, name))
  const texts = await Promise.all(
    paths.toSorted().map(async (path) => [path, await readFile(join(ROOT, path), 'utf8')] as const),
  )
  return new Map(texts)
}

// Type-only imports count too: a reader follows them like the others.
const SPECIFIER = /(?:\bfrom|\bimport)\s*\(?\s*'([^']+)'/g

/** What a file imports: paths from the root for our own files, names for packages. */
export function importsOf(path: string, text: string): string[] {
  return [...text.matchAll(SPECIFIER)].map(([, specifier = '']) =>
    specifier.startsWith('.') ? normalize(join(dirname(path), specifier)) : specifier,
  )
}

/** Text without comments: what a comment mentions is neither an import nor SQL. */
export function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
}
