import { chmod, chown, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  asUser,
  asUserWithFileAccess,
  type Runner,
  throughUserNamespace,
} from '../../../src/db/embedded/choose-runner.ts'
import type { Surroundings } from '../../../src/db/embedded/start-embedded-postgres.ts'
import {
  type EmbeddedPostgres,
  startWithin,
} from '../../../src/db/embedded/start-embedded-postgres.ts'
import { copyOfBinaries, useBinariesForEveryUser } from './copy-of-binaries.ts'
import { launcherProcess } from './launcher-process.ts'
import {
  AS_ROOT,
  afterThisTest,
  ask,
  NOBODY,
  scratchFolder,
  serverPid,
  useReadyCluster,
} from './scratch.ts'

const readyCluster = useReadyCluster()
const binariesForEveryUser = useBinariesForEveryUser()
const nobody = () => ({ ...NOBODY, binaries: binariesForEveryUser() })

// As on machines that forbid user namespaces: the command exists and fails.
const forbiddenUnshare: Runner = {
  ...throughUserNamespace,
  command: () => ({
    command: '/bin/sh',
    args: ['-c', 'echo "unshare failed: Operation not permitted"; exit 1'],
    options: {},
  }),
}

const missingUnshare: Runner = {
  ...throughUserNamespace,
  command: (program, args) => ({
    command: '/nowhere/unshare',
    args: [program, ...args],
    options: {},
  }),
}

/** Stopped after the test, even if its folder is too deep to be found. */
async function startIn(folder: string, surroundings: Surroundings = {}): Promise<EmbeddedPostgres> {
  const binaries = binariesForEveryUser()
  const server = await startWithin({ folder, durable: false }, { binaries, ...surroundings })
  afterThisTest(() => server.stop())
  return server
}

/** The user of the server process, according to the kernel. */
async function serverUser(dataFolder: string): Promise<number> {
  const status = await readFile(`/proc/${await serverPid(dataFolder)}/status`, 'utf8')
  return Number(/^Uid:\s+(\d+)/m.exec(status)?.[1])
}

const owner = async (path: string) => (await stat(path)).uid

describe.runIf(AS_ROOT && process.platform === 'linux')('root on Linux', () => {
  it('runs the server in a user namespace, in a folder that only root may enter', async () => {
    const home = await scratchFolder()
    await chmod(home, 0o700)
    const binaries = await copyOfBinaries(home)
    const folder = join(home, 'project', '.data', 'postgres')
    const server = await startIn(folder, { binaries })
    expect(await ask(server.connectionString, 'select 1 as one')).toEqual([{ one: 1 }])
    expect(await owner(server.dataFolder)).toBe(0)
    await server.stop()
  })

  it.each([
    ['forbidden', forbiddenUnshare],
    ['missing', missingUnshare],
  ])('becomes "nobody" and gives it the data when unshare is %s', async (_, unshare) => {
    const folder = await readyCluster()
    const server = await startIn(folder, { runners: [unshare, asUser()] })
    expect(await ask(server.connectionString, 'select 1 as one')).toEqual([{ one: 1 }])
    expect(await serverUser(server.dataFolder)).toBe(NOBODY.uid)
    expect(await owner(join(server.dataFolder, 'PG_VERSION'))).toBe(NOBODY.uid)
    await server.stop()
    const again = await startIn(folder)
    expect(again.connectionString).toBe(server.connectionString)
    expect(await serverUser(again.dataFolder)).toBe(NOBODY.uid)
    await again.stop()
  })

  it('becomes "nobody" for a first start, too', async () => {
    const server = await startIn(await scratchFolder(), { runners: [forbiddenUnshare, asUser()] })
    expect(await ask(server.connectionString, 'select 1 as one')).toEqual([{ one: 1 }])
    await server.stop()
  })

  it('gives "nobody" the right to enter a closed home when nothing else works', async () => {
    const home = await scratchFolder()
    await chmod(home, 0o700)
    const binaries = await copyOfBinaries(home)
    const folder = join(home, 'project', '.data', 'postgres')
    const runners = [forbiddenUnshare, asUser(), asUserWithFileAccess()]
    const server = await startIn(folder, { binaries, runners })
    expect(await ask(server.connectionString, 'select 1 as one')).toEqual([{ one: 1 }])
    expect(await serverUser(server.dataFolder)).toBe(NOBODY.uid)
    await server.stop()
    const again = await startIn(folder, { binaries })
    expect(again.connectionString).toBe(server.connectionString)
    await again.stop()
  })

  it('lists every runner it tried when none works', async () => {
    const home = await scratchFolder()
    await chmod(home, 0o700)
    const starting = startIn(join(home, 'postgres'), { runners: [forbiddenUnshare, asUser()] })
    await expect(starting).rejects.toThrow(/unshare: .*not permitted(.|\n)*user 65534: /)
    await expect(starting).rejects.toThrow('DATABASE_URL')
  })

  it("runs an ordinary user's database as that user, who can still use it later", async () => {
    const folder = await scratchFolder(NOBODY)
    const before = launcherProcess({ folder, end: 'finish', user: nobody() })
    expect((await before.started).error).toBeUndefined()
    await before.ended
    const server = await startIn(folder)
    expect(await serverUser(server.dataFolder)).toBe(NOBODY.uid)
    const joining = launcherProcess({ folder, end: 'finish', user: nobody() })
    expect(await joining.started).toMatchObject({ reused: true })
    await joining.ended
    await server.stop()
    const after = launcherProcess({ folder, end: 'finish', user: nobody() })
    expect(await after.started).toMatchObject({ reused: false })
    expect(await after.ended).toEqual({ code: 0, signal: null })
  })
})

describe.runIf(AS_ROOT)('an ordinary user', () => {
  it('runs the server directly', async () => {
    const folder = await scratchFolder(NOBODY)
    const launcher = launcherProcess({ folder, user: nobody() })
    const { connectionString, dataFolder, error } = await launcher.started
    expect(error).toBeUndefined()
    expect(await ask(connectionString, 'select 1 as one')).toEqual([{ one: 1 }])
    expect(await owner(dataFolder)).toBe(NOBODY.uid)
    launcher.child.kill('SIGINT')
    expect(await launcher.ended).toEqual({ code: 0, signal: null })
  })

  it('gets an error when it has no access to the folder', async () => {
    const folder = await readyCluster()
    const launcher = launcherProcess({ folder, user: nobody() })
    const { error } = await launcher.started
    expect(error).toContain(`${folder} cannot be started: EACCES`)
    expect(error).toContain('DATABASE_URL')
  })

  it('gets an error when the data belongs to another user', async () => {
    const folder = await readyCluster()
    await chown(folder, NOBODY.uid, NOBODY.gid)
    await chown(join(folder, 'passwords.json'), NOBODY.uid, NOBODY.gid)
    const launcher = launcherProcess({ folder, user: nobody() })
    const { error } = await launcher.started
    expect(error).toContain(`${join(folder, 'data')} belongs to user 0`)
    expect(error).toContain('chown')
  })
})
