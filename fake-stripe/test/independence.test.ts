import { readdir, readFile } from 'node:fs/promises'
import { builtinModules } from 'node:module'
import { dirname, join, normalize, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const WORKSPACE = fileURLToPath(new URL('../', import.meta.url))
const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url))

type Import = { file: string; specifier: string; typeOnly: boolean }

async function filesIn(folder: string, ending = '.ts'): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => join(entry.parentPath, entry.name))
}

async function importsIn(files: readonly string[]): Promise<Import[]> {
  const found = files.map(async (file) => {
    const text = await readFile(file, 'utf8')
    const matches = text.matchAll(/^(?:import|export)( type)?[^'"]*? from '([^']+)'/gm)
    return [...matches].map(([, type, specifier = '']) => ({
      file,
      specifier,
      typeOnly: type !== undefined,
    }))
  })
  return (await Promise.all(found)).flat()
}

async function manifest(folder: string) {
  const text = await readFile(join(folder, 'package.json'), 'utf8')
  return JSON.parse(text) as { dependencies: Record<string, string> }
}

it('imports nothing from the rest of the repository', async () => {
  const imports = await importsIn([
    ...(await filesIn(join(WORKSPACE, 'src'))),
    ...(await filesIn(join(WORKSPACE, 'test'))),
  ])
  expect(imports.length).toBeGreaterThan(300)
  const outside = imports.filter(
    ({ file, specifier }) =>
      specifier.startsWith('.') &&
      relative(WORKSPACE, join(dirname(file), specifier)).startsWith('..'),
  )
  expect(outside).toEqual([])
})

it('imports only packages that it declares; stripe only for its types', async () => {
  const { dependencies } = await manifest(WORKSPACE)
  const imports = await importsIn(await filesIn(join(WORKSPACE, 'src')))
  const undeclared = imports.filter(({ specifier, typeOnly }) => {
    if (specifier.startsWith('.') || builtinModules.includes(specifier.replace('node:', '')))
      return false
    return !(specifier in dependencies) && !(specifier === 'stripe' && typeOnly)
  })
  expect(undeclared).toEqual([])
})

it('has no import circles, type-only ones included', async () => {
  const graph = new Map<string, string[]>()
  for (const { file, specifier } of await importsIn(await filesIn(join(WORKSPACE, 'src'))))
    if (specifier.startsWith('.'))
      graph.set(file, [...(graph.get(file) ?? []), normalize(join(dirname(file), specifier))])
  const finished = new Set<string>()
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) throw new Error([...path.slice(path.indexOf(file)), file].join(' → '))
    if (finished.has(file)) return
    for (const imported of graph.get(file) ?? []) visit(imported, [...path, file])
    finished.add(file)
  }
  for (const file of graph.keys()) visit(file, [])
  expect(finished.size).toBeGreaterThan(80)
})

it('is imported by its package name, and only by tests, demo and benchmarks', async () => {
  const folders = ['src', 'migrations', 'test', 'demo', 'bench']
  const files = await Promise.all(folders.map((folder) => filesIn(join(REPOSITORY, folder))))
  const imports = (await importsIn(files.flat())).filter(
    ({ specifier }) => specifier.includes('fake-stripe') && !specifier.includes('fake-stripe-'),
  )
  expect(imports.length).toBeGreaterThan(3)
  const wrong = imports.filter(({ file, specifier }) => {
    const [folder = ''] = relative(REPOSITORY, file).split('/')
    return specifier !== 'fake-stripe/source' || !['test', 'demo', 'bench'].includes(folder)
  })
  expect(wrong).toEqual([])
})

it('is in no production dependency, build or image', async () => {
  expect((await manifest(REPOSITORY)).dependencies).not.toHaveProperty('fake-stripe')
  const build = await readFile(join(REPOSITORY, 'tsconfig.build.json'), 'utf8')
  expect(build).not.toContain('fake-stripe')
  const ignored = await readFile(join(REPOSITORY, '.dockerignore'), 'utf8')
  const rules = ignored.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  expect(rules[0]).toBe('*')
  expect(rules.filter((rule) => rule.includes('fake-stripe'))).toEqual([])
})
