import { readdir, readFile, readlink } from 'node:fs/promises'

/**
 * Processes of a server whose head was killed: they end by themselves once they wait for
 * something, but one that computes goes on, and PostgreSQL does not start beside it. Linux only;
 * elsewhere the list is empty.
 */
async function orphanedBackends(dataFolder: string): Promise<number[]> {
  if (process.platform !== 'linux') return []
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const pids = await Promise.all(names.map((name) => asOrphan(Number(name), dataFolder)))
  return pids.filter((pid) => pid !== undefined)
}

/**
 * Ends them as a crashing PostgreSQL ends its own (SIGQUIT): at once, leaving recovery to the next
 * start. What they were doing could no longer be answered to anybody.
 */
export async function endOrphanedBackends(dataFolder: string): Promise<number[]> {
  const pids = await orphanedBackends(dataFolder)
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGQUIT')
    } catch {
      // It ended meanwhile, or belongs to somebody else; the next start tells.
    }
  }
  return pids
}

async function asOrphan(pid: number, dataFolder: string): Promise<number | undefined> {
  // Fails for other users' processes and for those that just ended; neither is ours to end.
  const folder = await readlink(`/proc/${pid}/cwd`).catch(() => '')
  if (folder !== dataFolder) return undefined
  const title = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  // PostgreSQL's children rename themselves so; a person's shell in that folder does not.
  return title.startsWith('postgres: ') ? pid : undefined
}
