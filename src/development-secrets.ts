import { randomBytes } from 'node:crypto'
import { link, mkdir, open, readFile, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { z } from 'zod'
import type { Config } from './config.ts'
import { StartupError } from './shared/errors.ts'
import { newSecret } from './shared/ids.ts'

export type Secrets = { encryptionKey: Buffer; operatorApiKey: string }

const FILE = 'development-secrets.json'

const stored = z.object({ encryption_key: z.base64(), operator_api_key: z.string().min(16) })

/**
 * The secrets of the settings. Without them, the secrets in the data folder, which are created once.
 * loadConfig allows this only with the embedded database outside production, where the data and its key
 * are on the same disk anyway.
 *
 * @throws StartupError when the file is damaged or cannot be read.
 */
export async function loadSecrets(
  config: Pick<Config, 'encryptionKey' | 'operatorApiKey' | 'dataDir'>,
  logger: { info(details: object, message: string): void },
): Promise<Secrets> {
  const { encryptionKey, operatorApiKey } = config
  if (encryptionKey !== null && operatorApiKey !== null) return { encryptionKey, operatorApiKey }
  const path = join(resolve(config.dataDir), FILE)
  const kept = (await readSecrets(path)) ?? (await makeSecrets(path))
  logger.info({ file: path }, 'this file contains the operator API key and the encryption key')
  return {
    encryptionKey: encryptionKey ?? kept.encryptionKey,
    operatorApiKey: operatorApiKey ?? kept.operatorApiKey,
  }
}

async function readSecrets(path: string): Promise<Secrets | null> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw new StartupError(`${path} cannot be read: ${error.message}`)
  })
  if (text === null) return null
  const parsed = stored.safeParse(jsonOf(text))
  const encryptionKey = Buffer.from(parsed.data?.encryption_key ?? '', 'base64')
  if (!parsed.success || encryptionKey.length !== 32) {
    throw new StartupError(
      `${path} is damaged. Restore it from a backup, or set ENCRYPTION_KEY and OPERATOR_API_KEY. The stored Stripe keys can only be read with the old encryption key.`,
    )
  }
  return { encryptionKey, operatorApiKey: parsed.data.operator_api_key }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

async function makeSecrets(path: string): Promise<Secrets> {
  const content = {
    encryption_key: randomBytes(32).toString('base64'),
    operator_api_key: `operator_${newSecret()}`,
  }
  await mkdir(join(path, '..'), { recursive: true, mode: 0o700 })
  const draft = `${path}.${randomBytes(6).toString('hex')}.draft`
  const file = await open(draft, 'w', 0o600)
  try {
    await file.writeFile(`${JSON.stringify(content, null, 2)}\n`)
    // The key must be on disk, even after a power failure, before the first value is encrypted with it.
    await file.sync()
    // If several processes start at the same time, all use the file of the first one.
    await link(draft, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  } finally {
    await file.close()
    await rm(draft, { force: true })
  }
  const made = await readSecrets(path)
  if (made === null) throw new StartupError(`${path} was deleted while it was written`)
  return made
}
