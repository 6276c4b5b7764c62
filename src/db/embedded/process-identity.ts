import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { codeOf, unlessMissing } from './error-text.ts'

const run = promisify(execFile)

/**
 * One life of one process. The id alone is not enough: in a container the restarted service gets
 * the very id that the killed one wrote down.
 */
export type ProcessIdentity = { pid: number; started: string }

// Where the start time cannot be learnt (Windows, /proc mounted with hidepid) the id has to do.
const UNKNOWN = 'unknown'

/** When the living process `pid` started, in a form to compare; nothing when it is dead or a zombie. */
export async function processStart(pid: number): Promise<string | undefined> {
  if (!answersSignals(pid)) return undefined
  if (process.platform === 'linux') return startOnLinux(pid)
  if (process.platform === 'win32') return UNKNOWN
  return startByPs(pid)
}

/** The identity of this process. */
export async function ownIdentity(): Promise<ProcessIdentity> {
  return { pid: process.pid, started: (await processStart(process.pid)) ?? UNKNOWN }
}

/** Whether that very process, and not another one with its id, still lives. */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  const started = await processStart(identity.pid)
  if (started === undefined) return false
  return started === identity.started || started === UNKNOWN || identity.started === UNKNOWN
}

function answersSignals(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Another user's process may not be signalled, but it lives.
    return codeOf(error) === 'EPERM'
  }
}

async function startOnLinux(pid: number): Promise<string | undefined> {
  const stat = await unlessMissing(readFile(`/proc/${pid}/stat`, 'utf8'))
  if (stat === undefined) return answersSignals(pid) ? UNKNOWN : undefined
  // The name in parentheses may hold spaces and parentheses; the fields begin after the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  // A zombie answers signals for ever when its parent (node as a container's pid 1) never reaps it.
  if (fields[0] === 'Z' || fields[0] === 'X') return undefined
  return `${await bootId()}/${fields[19]}`
}

async function bootId(): Promise<string> {
  const id = await unlessMissing(readFile('/proc/sys/kernel/random/boot_id', 'utf8'))
  return id?.trim() ?? ''
}

async function startByPs(pid: number): Promise<string | undefined> {
  try {
    // Fixed language and zone, so that the text of one process never changes.
    const env = { LC_ALL: 'C', TZ: 'UTC' }
    const { stdout } = await run('/bin/ps', ['-o', 'state=,lstart=', '-p', String(pid)], { env })
    const [state = '', ...started] = stdout.trim().split(/\s+/)
    return state.startsWith('Z') ? undefined : started.join(' ')
  } catch {
    return answersSignals(pid) ? UNKNOWN : undefined
  }
}
