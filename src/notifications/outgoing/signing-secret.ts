import { randomBytes } from 'node:crypto'
import type { Encryption } from '../../shared/encryption.ts'

const context = (conferenceId: string, endpointId: string) =>
  `webhook_endpoints.secret:${conferenceId}:${endpointId}`

// The specification asks for 24 to 64 bytes.
const SECRET_BYTES = 32

/** `whsec_` and 32 random bytes in base64, as libraries for Standard Webhooks take it. */
export function newSigningSecret(): string {
  return `whsec_${randomBytes(SECRET_BYTES).toString('base64')}`
}

export function sealSigningSecret(
  encryption: Encryption,
  conferenceId: string,
  endpointId: string,
  secret: string,
): string {
  return encryption.encrypt(secret, context(conferenceId, endpointId))
}

/** Never log or answer what this returns. */
export function openSigningSecret(
  encryption: Encryption,
  conferenceId: string,
  endpointId: string,
  sealed: string,
): string {
  return encryption.decrypt(sealed, context(conferenceId, endpointId))
}
