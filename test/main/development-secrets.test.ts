import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { loadSecrets } from '../../src/development-secrets.ts'
import { StartupError } from '../../src/shared/errors.ts'

let dataDir = ''
const log: string[] = []
const logger = {
  info: (details: object, message: string) =>
    void log.push(JSON.stringify({ ...details, message })),
}

beforeEach(async () => {
  dataDir = join(await mkdtemp(join(tmpdir(), 'sv-secrets-')), 'data')
  log.length = 0
})
afterEach(() => rm(join(dataDir, '..'), { recursive: true }))

const load = (given: { encryptionKey?: Buffer; operatorApiKey?: string } = {}) =>
  loadSecrets({ encryptionKey: null, operatorApiKey: null, ...given, dataDir }, logger)

const file = () => join(dataDir, 'development-secrets.json')

it('creates the secrets once, readable only by their owner, and logs the file', async () => {
  const first = await load()
  expect(first.encryptionKey).toHaveLength(32)
  expect(first.operatorApiKey).toMatch(/^operator_\w{40}$/)
  expect(await load()).toEqual(first)
  expect((await stat(file())).mode & 0o777).toBe(0o600)
  expect(log.join()).toContain(file())
  expect(log.join()).not.toContain(first.operatorApiKey)
})

it('gives several simultaneous first starts the same secrets', async () => {
  const all = await Promise.all(Array.from({ length: 8 }, () => load()))
  for (const each of all) expect(each).toEqual(all[0])
  expect(await readdir(dataDir)).toEqual(['development-secrets.json'])
})

it('reads no file when the settings have both', async () => {
  const given = { encryptionKey: Buffer.alloc(32), operatorApiKey: 'operator-key-of-the-tests' }
  expect(await load(given)).toEqual(given)
  await expect(stat(dataDir)).rejects.toMatchObject({ code: 'ENOENT' })
})

it('prefers the secrets of the settings', async () => {
  const secrets = await load({ operatorApiKey: 'operator-key-of-the-tests' })
  expect(secrets.operatorApiKey).toBe('operator-key-of-the-tests')
  expect(secrets.encryptionKey).toEqual((await load()).encryptionKey)
})

it.each(['', '{"encryption_key":"c2hvcnQ=","operator_api_key":"operator_1234567890"}'])(
  'refuses a damaged file instead of making new secrets over it: %s',
  async (content) => {
    await load()
    await chmod(file(), 0o600)
    await writeFile(file(), content)
    await expect(load()).rejects.toBeInstanceOf(StartupError)
    await expect(load()).rejects.toThrow(file())
    expect(await readFile(file(), 'utf8')).toBe(content)
  },
)
