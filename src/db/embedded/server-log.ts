import { open, rename, stat } from 'node:fs/promises'
import { unlessMissing } from './error-text.ts'

const ROTATE_AT_BYTES = 10 * 1024 * 1024
const TAIL_BYTES = 16 * 1024
const TAIL_LINES = 15

/** Prepares the log for another start (one old generation is kept) and returns its size in bytes. */
export async function rotateLog(path: string): Promise<number> {
  const size = (await unlessMissing(stat(path)))?.size ?? 0
  if (size < ROTATE_AT_BYTES) return size
  await rename(path, `${path}.old`)
  return 0
}

/** The last lines that the server wrote after byte `from`. */
export async function logTail(path: string, from: number): Promise<string> {
  const file = await unlessMissing(open(path, 'r'))
  if (file === undefined) return ''
  try {
    const { size } = await file.stat()
    const start = Math.max(from, size - TAIL_BYTES)
    const buffer = Buffer.alloc(Math.max(0, size - start))
    await file.read(buffer, 0, buffer.length, start)
    return buffer.toString('utf8').trimEnd().split('\n').slice(-TAIL_LINES).join('\n')
  } finally {
    await file.close()
  }
}
