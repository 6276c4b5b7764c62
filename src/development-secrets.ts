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
 * The settings' secrets, or for a first try without settings those in the data folder, made once.
 * loadConfig allows that with the embedded database outside production alone: there the data lies
 * beside its key anyway.
 *
 * @throws StartRefused when the file cannot be read as what we wrote.
 */
export async function loadSecrets(
  config: Pick<Config, 'encryptionKey' | 'operatorApiKey' | 'dataDir'>,
  logger: { info(details: object, message: string): void },
): Promise<Secrets> {
  const { encryptionKey, operatorApiKey } = config
  if (encryptionKey !== null && operatorApiKey !== null) return { encryptionKey, operatorApiKey }
  const path = join(resolve(config.dataDir), FILE)
  const kept = (await readSecrets(path)) ?? (await makeSecrets(path))
  logger.info({ file: path }, 'the operator API key and the encryption key are kept in this file')
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
      `${path} is damaged. Bring it back from a copy, or set ENCRYPTION_KEY and OPERATOR_API_KEY: without the old encryption key the stored Stripe keys cannot be read.`,
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
    // Written before the first value is sealed with it, also through a power cut.
    await file.sync()
    // Of several processes that start at once, the first to link its draft wins for all.
    await link(draft, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  } finally {
    await file.close()
    await rm(draft, { force: true })
  }
  const made = await readSecrets(path)
  if (made === null) throw new StartupError(`${path} vanished while it was written`)
  return made
}
