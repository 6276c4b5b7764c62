// `npm pack` calls it. An installed package ignores package-lock.json, and would take the newest versions of what its
// packages need. So the package contains the part of our lock that production uses, as npm-shrinkwrap.json. It is
// removed again, because here npm would read it instead of package-lock.json.
import { readFile, rm, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

type Entry = { dev?: true; link?: true; devDependencies?: object; workspaces?: string[] }
type Lock = { packages: Record<string, Entry> }

const place = (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url))

async function write(): Promise<void> {
  const lock = JSON.parse(await readFile(place('package-lock.json'), 'utf8')) as Lock
  const { devDependencies: _dev, workspaces: _workspaces, ...root } = lock.packages[''] ?? {}
  const inProduction = Object.entries(lock.packages).filter(
    ([path, { dev, link }]) => path.startsWith('node_modules/') && !dev && !link,
  )
  const packages = { '': root, ...Object.fromEntries(inProduction) }
  await writeFile(place('npm-shrinkwrap.json'), JSON.stringify({ ...lock, packages }, null, 2))
}

if (process.argv.includes('--remove')) await rm(place('npm-shrinkwrap.json'), { force: true })
else await write()
