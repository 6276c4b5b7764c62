import { describe, expect, it } from 'vitest'
import { createEncryption } from '../../src/shared/cryptography.ts'

const encryption = createEncryption(Buffer.alloc(32, 1))
const sealed = encryption.encrypt('sk_test_secret', 'conferences.stripe_secret_key:conf_a')

describe('an encrypted value', () => {
  it('can be decrypted in its own row', () => {
    expect(encryption.decrypt(sealed, 'conferences.stripe_secret_key:conf_a')).toBe(
      'sk_test_secret',
    )
  })

  it('cannot be decrypted in another row or column (issue 8, line 32)', () => {
    expect(() => encryption.decrypt(sealed, 'conferences.stripe_secret_key:conf_b')).toThrow(
      /unable to authenticate/,
    )
    expect(() => encryption.decrypt(sealed, 'webhook_secrets.secret:conf_a')).toThrow(
      /unable to authenticate/,
    )
  })

  it('cannot be decrypted with another key', () => {
    const other = createEncryption(Buffer.alloc(32, 2))
    expect(() => other.decrypt(sealed, 'conferences.stripe_secret_key:conf_a')).toThrow(
      /unable to authenticate/,
    )
  })

  it('cannot be decrypted after one of its bytes changed', () => {
    const bytes = Buffer.from(sealed.slice('v1:'.length), 'base64')
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1
    const changed = `v1:${bytes.toString('base64')}`
    expect(() => encryption.decrypt(changed, 'conferences.stripe_secret_key:conf_a')).toThrow(
      /unable to authenticate/,
    )
  })

  it('can be decrypted with a second key, which encrypts nothing', () => {
    const context = 'conferences.stripe_secret_key:conf_a'
    const rotating = createEncryption(Buffer.alloc(32, 2), Buffer.alloc(32, 1))
    expect(rotating.decrypt(sealed, context)).toBe('sk_test_secret')
    expect(rotating.keyOf(sealed, context)).toBe('second')
    const fresh = rotating.encrypt('sk_test_secret', context)
    expect(rotating.keyOf(fresh, context)).toBe('current')
    expect(encryption.keyOf(fresh, context)).toBeNull()
    expect(() => rotating.decrypt(sealed, 'another context')).toThrow(/unable to authenticate/)
  })
})
