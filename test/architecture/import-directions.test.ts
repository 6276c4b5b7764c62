import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const OXLINT = join(ROOT, 'node_modules/oxlint/bin/oxlint')

/** By file: the imports that must fail `npx oxlint` in it, and some that must not. */
const FILES: Record<string, { refused: string[]; allowed: string[] }> = {
  'src/shared/probe.ts': { refused: ['../db/connect.ts', '../config.ts'], allowed: ['./ids.ts'] },
  'src/db/probe.ts': {
    refused: ['../http/pages.ts', '../jobs/timers.ts', 'stripe'],
    allowed: ['../shared/ids.ts', '../config.ts'],
  },
  'src/db/embedded/probe.ts': {
    refused: ['../../purchases/reconcile.ts'],
    allowed: ['../../shared/ids.ts', '../connect.ts'],
  },
  'src/jobs/probe.ts': {
    refused: [
      '../http/caller.ts',
      '../notifications/mail/mailer.ts',
      '../purchases/reconcile.ts',
      '../service-jobs.ts',
    ],
    allowed: ['../db/connect.ts'],
  },
  'src/http/probe.ts': {
    refused: ['../purchases/reconcile.ts', '../jobs/timers.ts', '../config.ts', 'stripe'],
    allowed: ['../db/connect.ts', 'fastify'],
  },
  'src/http/openapi/probe.ts': {
    refused: ['../../api-docs/tags.ts'],
    allowed: ['../access-rule.ts', '@fastify/swagger'],
  },
  'src/api-docs/probe.ts': {
    refused: ['../purchases/purchase-schemas.ts'],
    allowed: ['../http/openapi/operation-docs.ts'],
  },
  'src/access/probe.ts': {
    refused: ['../vouchers/voucher.ts'],
    allowed: ['../sponsors/sponsor.ts'],
  },
  'src/catalog/probe-schemas.ts': {
    refused: ['../purchases/reconcile.ts'],
    allowed: ['../http/common-schemas.ts'],
  },
  'src/conferences/probe.ts': {
    refused: ['../stripe/client.ts', '../http/idempotency.ts', 'fastify-type-provider-zod'],
    allowed: ['../jobs/add-job.ts', '../http/pages.ts'],
  },
  'src/sponsors/probe-routes.ts': {
    refused: ['../vouchers/voucher.ts', '../app.ts'],
    allowed: ['../http/route-deps.ts', 'fastify'],
  },
  'src/notifications/outgoing/probe.ts': {
    refused: ['../../vouchers/voucher.ts', '../../purchases/reconcile.ts', 'fastify', 'stripe'],
    allowed: ['../../jobs/add-job.ts', '../../http/pages.ts', 'standardwebhooks'],
  },
  'src/notifications/outgoing/probe-routes.ts': {
    refused: ['../../vouchers/voucher.ts'],
    allowed: ['../../http/route-deps.ts'],
  },
  'src/vouchers/probe.ts': {
    refused: ['../purchases/reconcile.ts', '@fastify/helmet', '../config.ts'],
    allowed: [
      '../catalog/catalog-item.ts',
      '../http/caller.ts',
      '../notifications/outgoing/announce-event.ts',
    ],
  },
  'src/vouchers/probe-routes.ts': {
    refused: ['../purchases/reconcile.ts', 'stripe'],
    allowed: ['fastify', '../http/problem.ts'],
  },
  'src/purchases/probe.ts': {
    refused: [
      '../stripe/client.ts',
      '../reports/report-query.ts',
      '../http/route-deps.ts',
      'fastify',
      'stripe',
      'xstate',
    ],
    allowed: ['../vouchers/voucher.ts', '../conferences/conference.ts'],
  },
  'src/purchases/purchase-machine.ts': {
    refused: ['../vouchers/voucher.ts', '../db/connect.ts', 'stripe'],
    allowed: ['xstate'],
  },
  'src/reports/probe.ts': {
    refused: ['../stripe/client.ts', 'fastify'],
    allowed: ['../purchases/purchase-machine.ts'],
  },
  'src/stripe/probe.ts': {
    refused: ['xstate', '../app.ts', '../fake-stripe/start-fake-stripe.ts', 'fastify'],
    allowed: ['stripe', '../purchases/reconcile.ts', '../config.ts'],
  },
  'src/stripe/inbox/probe-routes.ts': {
    refused: ['../../cli/cli.ts', '../../reports/report-query.ts', '../../worker.ts'],
    allowed: ['../client.ts', 'fastify', '../../http/route-deps.ts'],
  },
  'src/fake-stripe/api/probe.ts': {
    refused: ['../../stripe/client.ts', '../../config.ts', '../../db/connect.ts', 'xstate'],
    allowed: ['stripe', '../core/world.ts', 'fastify'],
  },
  'src/cli/demo/probe.ts': {
    refused: ['stripe', 'xstate'],
    allowed: ['../../fake-stripe/start-fake-stripe.ts', '../../app.ts'],
  },
  'src/app.ts': {
    refused: ['./fake-stripe/start-fake-stripe.ts', 'stripe', 'xstate'],
    allowed: ['./stripe/client.ts', './purchases/purchase-routes.ts'],
  },
  'src/worker.ts': {
    refused: ['./fake-stripe/start-fake-stripe.ts'],
    allowed: ['./stripe/client.ts'],
  },
  'test/stripe/probe.test.ts': {
    refused: [],
    allowed: ['stripe', '../../src/fake-stripe/start-fake-stripe.ts'],
  },
}

const USES_ENVIRONMENT = `export const port = process.env['PORT']\n`

type Finding = { code: string; filename: string; labels: { span: { line: number } }[] }

/** What oxlint finds in the folder. It ends with 1 when there is something. */
async function lint(folder: string): Promise<Finding[]> {
  const run = promisify(execFile)(process.execPath, [OXLINT, '--format=json'], { cwd: folder })
  const stdout = await run.then(
    (ended) => ended.stdout,
    (error: { stdout: string }) => error.stdout,
  )
  return (JSON.parse(stdout) as { diagnostics: Finding[] }).diagnostics
}

/** A folder with one probe a file, under our own rules but those that need types. */
async function writeProbes(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'import-directions-'))
  const write = async (path: string, text: string) => {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), text)
  }
  const config = JSON.parse(await readFile(join(ROOT, '.oxlintrc.json'), 'utf8')) as object
  await write('.oxlintrc.json', JSON.stringify({ ...config, options: {} }))
  for (const [file, { refused, allowed }] of Object.entries(FILES)) {
    await write(file, [...refused, ...allowed].map((name) => `import '${name}'\n`).join(''))
  }
  await write('src/purchases/environment.ts', USES_ENVIRONMENT)
  await write('src/config.ts', USES_ENVIRONMENT)
  return folder
}

describe('the linter', () => {
  let folder = ''
  let found: Finding[] = []

  beforeAll(async () => {
    folder = await writeProbes()
    found = await lint(folder)
  })
  afterAll(() => rm(folder, { recursive: true }))

  it.each(Object.entries(FILES))('lets imports of %s point one way', (file, imports) => {
    const lines = [...imports.refused, ...imports.allowed]
    const refused = found
      .filter(({ code, filename }) => /no-restricted-imports/.test(code) && filename === file)
      .map(({ labels }) => lines[(labels[0]?.span.line ?? 0) - 1])
    expect(new Set(refused)).toEqual(new Set(imports.refused))
  })

  it('lets nothing but config.ts read the environment', () => {
    const readers = found.filter(({ code }) => /no-process-env/.test(code))
    expect(readers.map(({ filename }) => filename)).toEqual(['src/purchases/environment.ts'])
  })
})
