import { readFileSync } from 'node:fs'
import type { TestProject } from 'vitest/node'
import { parse } from 'yaml'
import type { ApiDocument } from '../../src/http/openapi/api-document.ts'

declare module 'vitest' {
  // Declaration merging, the one thing that only an interface can do.
  interface ProvidedContext {
    openapiYaml: ApiDocument
  }
}

const FILE = new URL('../../openapi.yaml', import.meta.url)

/** Part of Vitest's global setup: reads openapi.yaml once, which takes 0.7 s of work, for all files. */
export function setup(project: TestProject): void {
  // The file is our own; openapi.test.ts holds it against the routes.
  project.provide('openapiYaml', parse(readFileSync(FILE, 'utf8')) as ApiDocument)
}
