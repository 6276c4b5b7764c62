import { readFileSync } from 'node:fs'
import type { TestProject } from 'vitest/node'
import { parse } from 'yaml'

declare module 'vitest' {
  // Declaration merging, the one thing that only an interface can do.
  interface ProvidedContext {
    openapiJson: string
  }
}

const FILE = new URL('../../openapi.yaml', import.meta.url)

/**
 * Part of Vitest's global setup: reads openapi.yaml once, which takes 0.7 s of work, for all files. As text,
 * because Vitest sends it to a worker with each file: an object would be serialised and read 250 times.
 */
export function setup(project: TestProject): void {
  project.provide('openapiJson', JSON.stringify(parse(readFileSync(FILE, 'utf8'))))
}
