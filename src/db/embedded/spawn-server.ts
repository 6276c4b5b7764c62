import { spawn } from 'node:child_process'
import { chown, open } from 'node:fs/promises'
import type { EmbeddedFolders } from './embedded-folders.ts'
import { SERVER_WAIT_MS } from './find-server.ts'
import type { Binaries } from './locate-binaries.ts'
import type { RunnableCommand, Runner } from './runner.ts'

export type ServerProgram = {
  folders: EmbeddedFolders
  binaries: Binaries
  runner: Runner
}

/** Tells whether the server is known to have ended, or to have failed to start. */
export type SpawnedServer = { hasEnded(): boolean }

/**
 * Starts the server in a session of its own, so that Ctrl-C reaches us and not it, and so that it
 * never keeps this process alive. What it prints goes to the log.
 */
export async function spawnServer(
  program: ServerProgram,
  settings: string[],
): Promise<SpawnedServer> {
  const { folders, binaries, runner } = program
  const log = await open(folders.log, 'a', 0o600)
  try {
    if (runner.owner !== undefined) await chown(folders.log, runner.owner.uid, runner.owner.gid)
    const { command, args, options } = runner.command(binaries.postgres, [
      '-D',
      folders.data,
      ...settings,
    ])
    const child = spawn(command, args, {
      ...options,
      cwd: folders.root,
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    })
    let ended = false
    const end = () => {
      ended = true
    }
    child.once('exit', end)
    child.once('error', end)
    child.unref()
    return { hasEnded: () => ended }
  } finally {
    await log.close()
  }
}

/**
 * The same through pg_ctl, which Windows needs: there the server refuses an administrator's rights
 * and pg_ctl drops them.
 */
export async function spawnServerThroughPgCtl(
  program: ServerProgram,
  settings: string[],
): Promise<SpawnedServer> {
  const { folders, binaries, runner } = program
  const { command, args, options } = runner.command(binaries.pgCtl, [
    'start',
    '-D',
    folders.data,
    '-l',
    folders.log,
    '-o',
    settings.join(' '),
    // It knows best when the server, which is not our child, has failed.
    '--wait',
    `--timeout=${SERVER_WAIT_MS / 1000}`,
  ])
  const ok = await succeeds({ command, args, options: { ...options, cwd: folders.root } })
  return { hasEnded: () => !ok }
}

// Not `runCommand`: the server inherits what pg_ctl has open, and a pipe would then never close.
async function succeeds({ command, args, options }: RunnableCommand): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { ...options, stdio: 'ignore', windowsHide: true })
    child.once('error', () => resolve(false))
    child.once('exit', (code) => resolve(code === 0))
  })
}
