// `npm run web:types`: writes the types of the web application's API client from openapi.yaml.
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const generator = createRequire(import.meta.url).resolve('openapi-typescript/package.json')
// The generator needs the JavaScript API of TypeScript, which TypeScript 7 does not have.
const hook = new URL('with-typescript-5.mjs', import.meta.url).href
const { status } = spawnSync(
  process.execPath,
  [
    '--import',
    hook,
    join(dirname(generator), 'bin', 'cli.js'),
    'openapi.yaml',
    '--output',
    'web/src/api/schema.d.ts',
  ],
  { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] },
)
process.exitCode = status ?? 1
