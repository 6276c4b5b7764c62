import {
  createCipheriv,
  createDecipheriv,
  createHash,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto'

const VERSION = 'v1'
const IV_BYTES = 12 // NIST SP 800-38D recommends 96 bits for GCM
const TAG_BYTES = 16

/** Encrypts values that must be readable again: Stripe keys, webhook secrets, stored responses. */
export type Encryption = {
  /** Returns `v1:` + base64 of iv, tag and ciphertext. `decrypt` needs the same `context`. */
  encrypt(plain: string, context: string): string
  /** @throws Error when neither key fits, or the context or the text differs from the encrypted one. */
  decrypt(sealed: string, context: string): string
  /** The key that can decrypt it. Null: none. */
  keyOf(sealed: string, context: string): 'current' | 'second' | null
}

/**
 * AES-256-GCM. The context (for example `conferences.stripe_secret_key:conf_…`) is authenticated, so an
 * encrypted value that is copied into another row or column cannot be decrypted there.
 *
 * @param key 32 bytes.
 * @param second while the key is rotated: values under it can be read, none is written.
 */
export function createEncryption(key: Buffer, second: Buffer | null = null): Encryption {
  const keys = second === null ? [key] : [key, second]
  if (keys.some(({ length }) => length !== 32))
    throw new Error('ENCRYPTION_KEY must be 32 bytes, base64 encoded')
  return {
    encrypt: (plain, context) => seal(key, plain, context),
    decrypt(sealed, context) {
      if (second === null) return open(key, sealed, context)
      return tryOpen(key, sealed, context) ?? open(second, sealed, context)
    },
    keyOf(sealed, context) {
      if (tryOpen(key, sealed, context) !== null) return 'current'
      return second !== null && tryOpen(second, sealed, context) !== null ? 'second' : null
    },
  }
}

function seal(key: Buffer, plain: string, context: string): string {
  const iv = randomBytes(IV_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(context))
  const text = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()])
  return `${VERSION}:${Buffer.concat([iv, cipher.getAuthTag(), text]).toString('base64')}`
}

function open(key: Buffer, sealed: string, context: string): string {
  const [version, data] = sealed.split(':', 2)
  if (version !== VERSION || data === undefined) throw new Error('Unknown encryption version')
  const bytes = Buffer.from(data, 'base64')
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES))
    .setAAD(Buffer.from(context))
    .setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES))
  const text = bytes.subarray(IV_BYTES + TAG_BYTES)
  return Buffer.concat([decipher.update(text), decipher.final()]).toString('utf8')
}

function tryOpen(key: Buffer, sealed: string, context: string): string | null {
  try {
    return open(key, sealed, context)
  } catch {
    return null
  }
}

/** SHA-256 in hex. API keys have 238 random bits, so they need no slow hash. */
export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** Compares two texts in constant time. Hashing makes their lengths equal. */
export function equalInConstantTime(a: string, b: string): boolean {
  return timingSafeEqual(
    createHash('sha256').update(a).digest(),
    createHash('sha256').update(b).digest(),
  )
}
