import { spawn } from 'node:child_process'
import { chmod, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Ran } from '../cli/command-line.ts'

const NODE_MODULES = fileURLToPath(new URL('../../node_modules', import.meta.url))

// Sends its arguments to this process, which runs the command: a start of Node for each takes a second.
const COMMAND = `#!/bin/sh
answer=$(mktemp)
status=$(printf '%s\\0' "$@" | curl -s --data-binary @- -o "$answer" -w '%{http_code}' "$COMMAND_LINE")
cat "$answer"
rm "$answer"
[ "$status" = 200 ]
`

export type Terminal = {
  folder: string
  /** @returns what the commands print, also as errors. */
  run(commands: string): Promise<string>
  close(): Promise<void>
}

/** A shell in an empty folder that keeps its variables and functions, and knows `sponsor-vouchers`. */
export async function openTerminal(
  runCommand: (args: string[]) => Promise<Ran>,
  env: NodeJS.ProcessEnv,
): Promise<Terminal> {
  const folder = await mkdtemp(join(tmpdir(), 'sponsor-vouchers-guides-'))
  await symlink(NODE_MODULES, join(folder, 'node_modules'))
  await writeFile(join(folder, 'sponsor-vouchers'), COMMAND)
  await chmod(join(folder, 'sponsor-vouchers'), 0o755)
  const commandLine = createServer((request, response) => {
    void text(request).then(async (body) => {
      const { exitCode, stdout, stderr } = await runCommand(body.split('\0').slice(0, -1))
      response.writeHead(exitCode === 0 ? 200 : 500).end(stdout + stderr)
    })
  })
  await new Promise<void>((resolve) => commandLine.listen(0, '127.0.0.1', resolve))
  const { port } = commandLine.address() as AddressInfo // it listens on a port
  const shell = spawn('sh', {
    cwd: folder,
    // A group of its own, to end what runs in the background.
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {
      ...env,
      PATH: `${folder}:${process.env['PATH']}`,
      COMMAND_LINE: `http://127.0.0.1:${port}/`,
    },
  })
  const printed = createInterface({ input: shell.stdout })[Symbol.asyncIterator]()
  return {
    folder,
    async run(commands) {
      shell.stdin.write(`{ ${commands}\n} 2>&1\nprintf '\\n-- done --\\n'\n`)
      const lines: string[] = []
      for (;;) {
        const { value, done } = await printed.next()
        if (done === true) throw new Error('The shell ended')
        if (value === '-- done --') return lines.join('\n').trim()
        lines.push(value)
      }
    },
    async close() {
      if (shell.pid !== undefined) process.kill(-shell.pid, 'SIGKILL')
      commandLine.closeAllConnections()
      commandLine.close()
      await rm(folder, { recursive: true })
    },
  }
}
