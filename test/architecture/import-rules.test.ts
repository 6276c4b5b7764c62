import { beforeAll, describe, expect, it } from 'vitest'
import {
  httpInDomains,
  importCircles,
  importsAgainstTheDirection,
  misplacedPackages,
  purchasesBesideTheService,
  repeatedFileNames,
  settingsInDomains,
  type Violation,
} from './import-rules.ts'
import { readSourceTree, type SourceTree } from './source-tree.ts'

let src: SourceTree
beforeAll(async () => {
  src = await readSourceTree('src')
})

/** A tree in which one file imports each of the others. */
const fileThatImports = (file: string, ...specifiers: string[]): SourceTree =>
  new Map([[file, specifiers.map((specifier) => `import '${specifier}'\n`).join('')]])

type Rule = (tree: SourceTree) => Violation[]

/** By rule: imports that it must refuse, and imports that it must allow. */
const EXAMPLES: { rule: Rule; file: string; refused: string[]; allowed: string[] }[] = [
  {
    rule: importsAgainstTheDirection,
    file: 'src/shared/probe.ts',
    refused: ['../db/connect.ts', '../config.ts', '../app.ts', '../cli/main.ts'],
    allowed: ['./ids.ts', 'zod'],
  },
  {
    rule: importsAgainstTheDirection,
    file: 'src/http/probe.ts',
    refused: ['../jobs/timers.ts', '../purchases/purchase-schemas.ts', '../config/../app.ts'],
    allowed: ['../db/connect.ts', '../shared/errors.ts'],
  },
  {
    rule: importsAgainstTheDirection,
    file: 'src/jobs/probe.ts',
    refused: ['../http/server.ts', '../notifications/mailer.ts', '../worker.ts'],
    allowed: ['../db/connect.ts', '../config.ts'],
  },
  {
    rule: importsAgainstTheDirection,
    file: 'src/purchases/probe.ts',
    refused: ['../stripe/client.ts', '../reports/report-routes.ts', '../stripe-events/worker.ts'],
    allowed: ['../vouchers/voucher.ts', '../payments/payment-gateway.ts', './purchase.ts'],
  },
  {
    rule: importsAgainstTheDirection,
    file: 'src/mirror/runs/probe.ts',
    refused: ['../../billing/charge.ts', '../../stripe-events/claim.ts', '../../worker.ts'],
    allowed: ['../../stripe/client.ts', '../mirror-row.ts'],
  },
  {
    rule: importsAgainstTheDirection,
    file: 'src/worker.ts',
    refused: ['./cli/main.ts'],
    allowed: ['./stripe-events/worker.ts', './reports/report-routes.ts'],
  },
  {
    rule: settingsInDomains,
    file: 'src/vouchers/probe.ts',
    refused: ['../config.ts'],
    allowed: ['../shared/ids.ts'],
  },
  {
    rule: settingsInDomains,
    file: 'src/app.ts',
    refused: [],
    allowed: ['./config.ts'],
  },
  {
    rule: httpInDomains,
    file: 'src/purchases/bulk-purchase-service.ts',
    refused: ['../http/idempotency.ts', 'fastify', '@fastify/helmet', 'fastify-type-provider-zod'],
    allowed: ['../shared/caller.ts', '../db/pages.ts'],
  },
  {
    rule: httpInDomains,
    file: 'src/purchases/purchase-routes.ts',
    refused: [],
    allowed: ['../http/idempotency.ts', 'fastify'],
  },
  {
    rule: purchasesBesideTheService,
    file: 'src/stripe-events/probe.ts',
    refused: ['../purchases/reconcile-purchase.ts', '../purchases/purchase-store.ts'],
    allowed: ['../purchases/bulk-purchase-service.ts', '../payments/payment-gateway.ts'],
  },
  {
    rule: purchasesBesideTheService,
    file: 'src/job-handlers.ts',
    refused: ['./purchases/sweep-purchases.ts'],
    allowed: ['./purchases/bulk-purchase-service.ts'],
  },
  {
    rule: misplacedPackages,
    file: 'src/purchases/probe.ts',
    refused: [
      'xstate',
      'stripe',
      'fake-stripe',
      '@opentelemetry/api',
      '../../demo/stage.ts',
      '../../test/support/x.ts',
    ],
    allowed: ['zod', 'knex'],
  },
  {
    rule: misplacedPackages,
    file: 'src/purchases/purchase-machine.ts',
    refused: ['stripe'],
    allowed: ['xstate'],
  },
  {
    rule: misplacedPackages,
    file: 'src/stripe/client.ts',
    refused: ['xstate', 'fake-stripe/start.ts'],
    allowed: ['stripe'],
  },
]

describe('imports of src', () => {
  it.each([
    importsAgainstTheDirection,
    settingsInDomains,
    httpInDomains,
    misplacedPackages,
    purchasesBesideTheService,
  ])('pass the rule %o', (rule) => {
    expect(rule(src)).toEqual([])
  })

  it('form no circle, type-only imports included', () => {
    expect(importCircles(src)).toEqual([])
  })

  it('load OpenTelemetry on demand, so that a process without traces pays nothing for it', () => {
    const importing = [...src].filter(([, text]) => text.includes("/open-telemetry.ts'"))
    expect(importing.map(([file]) => file)).toEqual(['src/start-service.ts'])
    const [, text = ''] = importing[0] ?? []
    expect(text.match(/[^\n]*open-telemetry\.ts[^\n]*/g)).toEqual([
      "  const { createTracing } = await import('./open-telemetry.ts')",
    ])
  })

  it('lead to files whose names occur once', () => {
    expect(repeatedFileNames(src)).toEqual([])
  })
})

describe('the rules for imports', () => {
  it.each(EXAMPLES)('$rule.name refuses in $file: $refused', ({ rule, file, refused, allowed }) => {
    expect(rule(fileThatImports(file, ...refused))).toHaveLength(refused.length)
    expect(rule(fileThatImports(file, ...allowed))).toEqual([])
  })

  it('see the import of a type, a re-export and a lazy import', () => {
    const texts = [
      `import type { App } from '../app.ts'`,
      `export { app } from '../app.ts'`,
      `const { app } = await import('../app.ts')`,
      `import {\n  app,\n  other,\n} from '../app.ts'`,
    ]
    for (const text of texts) {
      expect(importsAgainstTheDirection(new Map([['src/db/probe.ts', text]]))).toHaveLength(1)
    }
  })

  it('do not see what a comment mentions', () => {
    const text = `// import '../app.ts'\n/** import '../app.ts' */\n`
    expect(importsAgainstTheDirection(new Map([['src/db/probe.ts', text]]))).toEqual([])
  })

  it('find a circle of two files and one of three', () => {
    const tree = new Map([
      ['src/a.ts', `import type { B } from './b.ts'`],
      ['src/b.ts', `import type { A } from './a.ts'`],
      ['src/c.ts', `import './d.ts'\nimport './a.ts'`],
      ['src/d.ts', `import './e.ts'`],
      ['src/e.ts', `import './c.ts'`],
      ['src/f.ts', `import './a.ts'\nimport './c.ts'`],
    ])
    expect(importCircles(tree)).toEqual([
      ['src/a.ts', 'src/b.ts'],
      ['src/c.ts', 'src/d.ts', 'src/e.ts'],
    ])
  })

  it('find a file name that occurs twice', () => {
    const tree = new Map(['src/a/store.ts', 'src/b/store.ts', 'src/b/view.ts'].map((p) => [p, '']))
    expect(repeatedFileNames(tree)).toEqual(['src/a/store.ts', 'src/b/store.ts'])
  })
})
