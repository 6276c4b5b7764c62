import { readPostmasterPid } from '../../../src/db/embedded/postmaster-pid.ts'
import { processStart } from '../../../src/db/embedded/process-identity.ts'

/** The process id that the data folder's postmaster.pid names. */
export async function serverPid(dataFolder: string): Promise<number> {
  const file = await readPostmasterPid(dataFolder)
  if (file.kind !== 'present') throw new Error(`postmaster.pid is ${file.kind}`)
  return file.content.pid
}

export async function lives(pid: number): Promise<boolean> {
  return (await processStart(pid)) !== undefined
}
