import type { FileOwner } from './private-file.ts'

export type RunnableCommand = {
  command: string
  args: string[]
  options: { cwd?: string; uid?: number; gid?: number }
}

/** A way to run PostgreSQL's programs, which refuse to run as root. */
export type Runner = {
  name: string
  /** Who must own the data folder on the host; undefined: whoever we are. */
  owner: FileOwner | undefined
  command(program: string, args: string[]): RunnableCommand
}

/** "nobody" on Linux; the number is what the kernel itself uses for users that it cannot map. */
export const NOBODY: FileOwner = { uid: 65534, gid: 65534 }

/** Not root: nothing to do. */
export const asMyself: Runner = {
  name: 'this user',
  owner: undefined,
  command: (program, args) => ({ command: program, args, options: {} }),
}

/**
 * Root seen as "nobody": the server keeps root's ordinary file rights, so a project in a 0700 home
 * works and no file changes its owner, but it has no capability and does not know itself as root.
 */
export const throughUserNamespace: Runner = {
  name: 'unshare',
  owner: { uid: 0, gid: 0 },
  command: (program, args) => ({
    command: 'unshare',
    args: [
      '--user',
      `--map-user=${NOBODY.uid}`,
      `--map-group=${NOBODY.gid}`,
      '--',
      program,
      ...args,
    ],
    options: {},
  }),
}

/** Root steps down to another user, who must be able to reach project and data folder. */
export function asUser(owner: FileOwner = NOBODY): Runner {
  return {
    name: `user ${owner.uid}`,
    owner,
    command: (program, args) => ({ command: program, args, options: { ...owner } }),
  }
}

/**
 * Root steps down to another user but lends it the right to pass closed folders (a project below
 * /root in a container that forbids user namespaces). Linux only.
 */
export function asUserWithFileAccess(owner: FileOwner = NOBODY): Runner {
  return {
    name: `user ${owner.uid} with file access`,
    owner,
    command: (program, args) => ({
      command: 'setpriv',
      args: [
        `--reuid=${owner.uid}`,
        `--regid=${owner.gid}`,
        '--clear-groups',
        '--inh-caps=+dac_override',
        '--ambient-caps=+dac_override',
        // Else access(2), with which PostgreSQL looks for its own program, leaves the right out.
        '--securebits=+no_setuid_fixup',
        '--',
        program,
        ...args,
      ],
      options: {},
    }),
  }
}
