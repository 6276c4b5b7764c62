import { spawn } from 'node:child_process'
import type { RunnableCommand } from './runner.ts'

export type CommandResult = { ok: boolean; output: string }

/** Runs a program to its end, with nothing on stdin but `input`; never throws. Output is trimmed. */
export async function runCommand(
  { command, args, options }: RunnableCommand,
  input = '',
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { ...options, stdio: 'pipe', windowsHide: true })
    let output = ''
    const collect = (chunk: string) => {
      output += chunk
    }
    child.stdout.setEncoding('utf8').on('data', collect)
    child.stderr.setEncoding('utf8').on('data', collect)
    // A program that ends without reading its input is no error of ours.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
    child.once('error', (error) => resolve({ ok: false, output: error.message }))
    child.once('close', (code, signal) => {
      const end = signal === null ? '' : `ended by ${signal}`
      resolve({ ok: code === 0, output: `${output.trimEnd()}\n${end}`.trim() })
    })
  })
}
