import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { unlessMissing } from './error-text.ts'

/** What a running server writes into its data folder: postmaster.pid, line by line. */
export type PostmasterPid = {
  pid: number
  port: number
  /** Folder of the unix socket; empty when it listens on TCP only. */
  socketFolder: string
  status: 'starting' | 'stopping' | 'ready'
}

export type PostmasterPidFile =
  | { kind: 'absent' }
  /** Half-written, or emptied by a power cut. `ageMs` tells which. */
  | { kind: 'unreadable'; ageMs: number }
  | { kind: 'present'; content: PostmasterPid }

export function postmasterPidPath(dataFolder: string): string {
  return join(dataFolder, 'postmaster.pid')
}

/** Reads the data folder's postmaster.pid; it says nothing about whether that process still lives. */
export async function readPostmasterPid(dataFolder: string): Promise<PostmasterPidFile> {
  const path = postmasterPidPath(dataFolder)
  const text = await unlessMissing(readFile(path, 'utf8'))
  if (text === undefined) return { kind: 'absent' }
  const content = parsePostmasterPid(text)
  if (content !== undefined) return { kind: 'present', content }
  const file = await unlessMissing(stat(path))
  return file === undefined
    ? { kind: 'absent' }
    : { kind: 'unreadable', ageMs: Date.now() - file.mtimeMs }
}

// Lines: pid, data folder, start time, port, socket folder, listen address, shared memory, status.
// https://www.postgresql.org/docs/18/storage-file-layout.html
function parsePostmasterPid(text: string): PostmasterPid | undefined {
  const [pid = '', , , port = '', socketFolder = '', , , status = ''] = text.split('\n')
  if (!/^\d+$/.test(pid.trim())) return undefined
  return {
    pid: Number(pid),
    port: Number(port),
    socketFolder: socketFolder.trim(),
    status: parseStatus(status.trim()),
  }
}

// The status comes last; while the file is being filled there is none.
function parseStatus(word: string): PostmasterPid['status'] {
  return word === 'ready' || word === 'stopping' ? word : 'starting'
}
