import { execFile, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, describe } from 'vitest'
import { bundlePrograms } from '../../support/built-programs.ts'
import { discardScratchFolder, makeScratchFolder } from '../../support/test-servers.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const run = promisify(execFile)

/** The release that runs in production while the next one is made; to be changed when a release is tagged. */
const { version, commit } = JSON.parse(
  readFileSync(new URL('../../support/last-release.json', import.meta.url), 'utf8'),
) as { version: string; commit: string }

/** `describe` where git knows the commit of the last release. A shallow clone does not; then a line says so. */
export function describeWithLastRelease(): typeof describe | typeof describe.skip {
  const { status } = spawnSync('git', ['cat-file', '-e', `${commit}^{commit}`], { cwd: ROOT })
  if (status === 0) return describe
  process.stderr.write(
    `\n== SKIPPED: release ${version} (${commit}) is not in this clone. Run: git fetch --unshallow\n\n`,
  )
  return describe.skip
}

/** The bundled programs of a release. */
export type Release = { program(file: 'src/main.ts' | 'src/cli/sponsor-vouchers.ts'): string }

/** Makes the programs of the last release from its sources and the packages of its own lock. */
export async function buildLastRelease(): Promise<Release> {
  const folder = await makeScratchFolder()
  afterAll(() => discardScratchFolder(folder))
  const archive = join(folder, 'release.tar')
  const files = ['src', 'migrations', 'package.json', 'package-lock.json']
  await run('git', ['archive', '--output', archive, commit, ...files], { cwd: ROOT })
  await run('tar', ['xf', archive, '-C', folder])
  await installPackages(folder)
  const into = join(folder, 'built')
  const programs = ['src/main.ts', 'src/cli/sponsor-vouchers.ts']
  await bundlePrograms({ root: folder, programs, into })
  return { program: (file) => join(into, file.replace(/\.ts$/, '.js')) }
}

async function installPackages(folder: string): Promise<void> {
  const options = ['--omit=dev', '--omit=optional', '--workspaces=false', '--ignore-scripts']
  const quietly = ['--prefer-offline', '--no-audit', '--no-fund']
  // `npm run` sets the folder of this repository in its environment.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(npm_|INIT_CWD$|NODE_ENV$)/.test(name)),
  )
  await run('npm', ['ci', ...options, ...quietly], { cwd: folder, env, maxBuffer: 2 ** 24 })
}
