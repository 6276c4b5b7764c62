import { createHash, timingSafeEqual } from 'node:crypto'

/** SHA-256 in hex. Enough for API keys: they carry 238 random bits, so no slow hash is needed. */
export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** Compares two texts in constant time; hashing first makes the lengths equal. */
export function equalInConstantTime(a: string, b: string): boolean {
  return timingSafeEqual(
    createHash('sha256').update(a).digest(),
    createHash('sha256').update(b).digest(),
  )
}
