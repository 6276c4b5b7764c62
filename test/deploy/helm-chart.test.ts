import { execFile, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Ajv } from 'ajv'
import type { Deployment } from 'kubernetes-types/apps/v1.js'
import type { Job } from 'kubernetes-types/batch/v1.js'
import type { Container, PodTemplateSpec, Service } from 'kubernetes-types/core/v1.js'
import type { NetworkPolicy } from 'kubernetes-types/networking/v1.js'
import { beforeAll, describe, expect, it } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { loadConfig } from '../../src/config.ts'

// Neither Debian nor npm has Helm. A program of 100 lines renders the chart with the templates of Go and the
// functions that Helm uses; its output is kept in helm/*.rendered.yaml, for machines without Go. The rest of the tests
// reads that output. After a change of the chart: run this file with -u, then without.

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const CHART = join(ROOT, 'docs/deploy/helm')
const HERE = join(ROOT, 'test/deploy/helm')
const GO_PACKAGES = '/usr/share/gocode'

const CASES = ['default', 'everything'] as const
type Case = (typeof CASES)[number]

const hasGo =
  existsSync(`${GO_PACKAGES}/src/github.com/Masterminds/sprig`) &&
  spawnSync('go', ['version']).status === 0
if (!hasGo) {
  process.stderr.write(
    '\n== SKIPPED: rendering the Helm chart anew. Install: apt-get install golang-go golang-github-masterminds-sprig-dev\n\n',
  )
}

/** Of all files of the chart, so that what is kept is known to be of this chart. */
async function hashOfChart(): Promise<string> {
  const hash = createHash('sha256')
  const files = await readdir(CHART, { recursive: true, withFileTypes: true })
  const paths = files.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name))
  for (const path of paths.toSorted((a, b) => (a < b ? -1 : 1))) {
    hash.update(path.slice(CHART.length)).update(await readFile(path))
  }
  return hash.digest('hex')
}

const keptFile = (name: Case) => join(HERE, `${name}.rendered.yaml`)
const valuesFile = (name: Case) => join(HERE, `${name}.yaml`)
const headOf = (hash: string) => `# Of the chart with SHA-256 ${hash}\n`

describe.skipIf(!hasGo)('the Helm chart, rendered anew', () => {
  it.each(CASES)('gives the manifests that are kept: %s', async (name) => {
    const options = {
      env: { ...process.env, GOPATH: GO_PACKAGES, GO111MODULE: 'off', GOFLAGS: '' },
    }
    const program = join(HERE, 'render.go')
    const { stdout } = await run('go', ['run', program, CHART, valuesFile(name)], options)
    await expect(headOf(await hashOfChart()) + stdout).toMatchFileSnapshot(keptFile(name))
  })
})

type Manifest = {
  apiVersion: string
  kind: string
  metadata: { name: string; annotations?: Record<string, string> }
}

describe.each(CASES)('the manifests of the Helm chart: %s', (name) => {
  let manifests: Manifest[] = []
  beforeAll(async () => {
    const documents = parseAllDocuments(await readFile(keptFile(name), 'utf8'))
    manifests = documents.map((one) => one.toJS() as Manifest)
  })

  // Its type says what a manifest of that kind has; a test checks that all have their types.
  const only = <T>(kind: string, suffix = ''): T => {
    const found = manifests.filter(
      (one) => one.kind === kind && one.metadata.name === `sponsor-vouchers${suffix}`,
    )
    expect(found, kind).toHaveLength(1)
    return found[0] as T
  }
  const pods = (): Record<'serve' | 'work' | 'migrate', PodTemplateSpec | undefined> => ({
    serve: only<Deployment>('Deployment', '-serve').spec?.template,
    work: only<Deployment>('Deployment', '-work').spec?.template,
    migrate: only<Job>('Job', '-migrate').spec?.template,
  })
  const containerOf = (pod: PodTemplateSpec | undefined): Container => {
    const [container, ...others] = pod?.spec?.containers ?? []
    if (container === undefined || others.length > 0) throw new Error('A pod has one container')
    return container
  }

  it('are those of the chart as it is now', async () => {
    const kept = await readFile(keptFile(name), 'utf8')
    expect(kept.startsWith(headOf(await hashOfChart()))).toBe(true)
  })

  it('have only fields that Kubernetes knows, of the right types', async () => {
    const modules: Record<string, string> = {
      v1: 'core/v1',
      'networking.k8s.io/v1': 'networking/v1',
    }
    const lines = manifests.map((one, index) => {
      const module = modules[one.apiVersion] ?? one.apiVersion
      const type = `import('kubernetes-types/${module}.js').${one.kind}`
      return `export const manifest${index}: ${type} = ${JSON.stringify(one, null, 1)}\n`
    })
    await expectToCompile(lines.join(''))
  })

  it('run as an ordinary user who can change nothing', () => {
    for (const pod of Object.values(pods())) {
      expect(pod?.spec).toMatchObject({
        automountServiceAccountToken: false,
        securityContext: {
          runAsNonRoot: true,
          runAsUser: 1000,
          seccompProfile: { type: 'RuntimeDefault' },
        },
      })
      // "restricted" of the Pod Security Standards, and a read-only file system.
      expect(containerOf(pod).securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      })
    }
  })

  it('start the service with settings that it accepts, and take secrets from a Secret', () => {
    const secret = {
      DATABASE_URL: 'postgres://sponsor_vouchers@db/sponsor_vouchers',
      ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
      OPERATOR_API_KEY: 'operator-key-of-the-chart',
    }
    const roles = Object.entries(pods()).map(([part, pod]) => {
      const { env = [], envFrom = [] } = containerOf(pod)
      expect(envFrom).toHaveLength(1)
      expect(envFrom[0]?.secretRef?.name).toMatch(/^(sponsor-vouchers|vouchers-settings)$/)
      for (const one of env) expect(Object.keys(secret)).not.toContain(one.name)
      const settings = Object.fromEntries(env.map((one) => [one.name, one.value]))
      const config = loadConfig({ NODE_ENV: 'production', ...secret, ...settings })
      expect(config).toMatchObject({ migrateOnStart: false, trustProxy: 1, port: 3000 })
      return [part, config.run]
    })
    expect(Object.fromEntries(roles)).toMatchObject({ serve: 'serve', work: 'work' })
  })

  it('migrate before anything else, with the new image', () => {
    const job = only<Job>('Job', '-migrate')
    expect(job.metadata?.annotations?.['helm.sh/hook']).toBe('pre-install,pre-upgrade')
    expect(containerOf(job.spec?.template).command).toEqual(['sponsor-vouchers', 'migrate'])
    const images = Object.values(pods()).map((pod) => containerOf(pod).image)
    expect(new Set(images).size).toBe(1)
  })

  it('ask each process at its port whether it lives and is ready, and stop it in order', () => {
    const { serve, work } = pods()
    for (const [pod, port, setting] of [
      [serve, 'http', 'port'],
      [work, 'metrics', 'metricsPort'],
    ] as const) {
      const { env = [], ...container } = containerOf(pod)
      const config = loadConfig(
        Object.fromEntries(env.map((one) => [one.name, one.value])),
        'migration',
      )
      expect(container.ports).toEqual([{ name: port, containerPort: config[setting] }])
      expect(container.startupProbe?.httpGet).toEqual({ path: '/livez', port })
      expect(container.livenessProbe?.httpGet).toEqual({ path: '/livez', port })
      expect(container.readinessProbe?.httpGet).toEqual({ path: '/readyz', port })
    }
    const { env = [] } = containerOf(serve)
    const { drainSeconds, shutdownSeconds } = loadConfig(
      Object.fromEntries(
        env.flatMap((one) => (one.name === 'DRAIN_SECONDS' ? [[one.name, one.value]] : [])),
      ),
    )
    expect(drainSeconds).toBe(5)
    for (const pod of [serve, work]) {
      const grace = pod?.spec?.terminationGracePeriodSeconds ?? 0
      expect(grace).toBeGreaterThan(drainSeconds + shutdownSeconds + 2)
    }
  })

  it('select the pods that they mean', () => {
    const { serve, work } = pods()
    const isSelected = (selector: Record<string, string> = {}, pod = serve) =>
      Object.entries(selector).every(([label, value]) => pod?.metadata?.labels?.[label] === value)
    const { selector } = only<Service>('Service').spec ?? {}
    expect(isSelected(selector, serve)).toBe(true)
    expect(isSelected(selector, work)).toBe(false)
    for (const part of ['serve', 'work'] as const) {
      const pod = pods()[part]
      const wanted = only<Deployment>('Deployment', `-${part}`).spec?.selector.matchLabels
      expect(isSelected(wanted, pod)).toBe(true)
      const budget = only<{ spec: { selector: { matchLabels: Record<string, string> } } }>(
        'PodDisruptionBudget',
        `-${part}`,
      )
      expect(budget.spec.selector.matchLabels).toEqual(wanted)
    }
  })

  it('let Prometheus reach every process, and each process a pooler and a collector of traces', () => {
    if (name !== 'everything') return
    const portsOf = (rules: readonly { ports?: readonly { port?: unknown }[] }[] = []) =>
      rules.flatMap(({ ports = [] }) => ports.map(({ port }) => port))
    for (const [part, port] of [
      ['serve', 'http'],
      ['work', 'metrics'],
    ] as const) {
      const { spec } = only<NetworkPolicy>('NetworkPolicy', `-${part}`)
      const monitoring = spec?.ingress?.filter(
        ({ from = [] }) =>
          from[0]?.namespaceSelector?.matchLabels?.['kubernetes.io/metadata.name'] === 'monitoring',
      )
      expect(portsOf(monitoring)).toEqual([port])
      expect(portsOf(spec?.egress)).toEqual(expect.arrayContaining([5432, 6432, 443, 587, 4318]))
    }
  })

  it('have the optional parts if they are asked for', () => {
    const kinds = new Set(manifests.map(({ kind }) => kind))
    for (const kind of ['HorizontalPodAutoscaler', 'Ingress', 'NetworkPolicy']) {
      expect(kinds.has(kind), kind).toBe(name === 'everything')
    }
    const { replicas } = only<Deployment>('Deployment', '-serve').spec ?? {}
    // Otherwise every upgrade would undo what the autoscaler did.
    expect(replicas).toBe(name === 'everything' ? undefined : 2)
  })
})

describe('the values of the Helm chart', () => {
  const check = async (values: unknown) => {
    const schema: object = JSON.parse(await readFile(join(CHART, 'values.schema.json'), 'utf8'))
    const ajv = new Ajv({ allErrors: true, allowUnionTypes: true })
    return { isValid: ajv.validate(schema, values), errors: ajv.errorsText() }
  }
  const defaults = async () =>
    parse(await readFile(join(CHART, 'values.yaml'), 'utf8')) as Record<string, object>

  it('are valid', async () => {
    expect(await check(await defaults())).toMatchObject({ isValid: true })
    const everything = parse(await readFile(valuesFile('everything'), 'utf8')) as object
    expect(await check({ ...(await defaults()), ...everything })).toMatchObject({ isValid: true })
  })

  it.each([
    ['a misspelled option', { replicaCount: 3 }],
    ['a secret among the settings', { settings: { PUBLIC_URL: 'https://x', ENCRYPTION_KEY: 'k' } }],
    ['the second key', { settings: { PUBLIC_URL: 'https://x', ENCRYPTION_KEY_SECOND: 'k' } }],
    ['a port that the chart decides', { settings: { PUBLIC_URL: 'https://x', METRICS_PORT: 1 } }],
    ['a setting that the chart decides', { settings: { PUBLIC_URL: 'https://x', RUN: 'all' } }],
    ['no address', { settings: {} }],
  ])('refuse %s', async (_what, values) => {
    expect(await check({ ...(await defaults()), ...values })).toMatchObject({ isValid: false })
  })

  it('have the version of the service', async () => {
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as Manifest &
      Record<'version', string>
    const chart = parse(await readFile(join(CHART, 'Chart.yaml'), 'utf8')) as object
    expect(chart).toMatchObject({ version, appVersion: version })
  })
})

/** The types of Kubernetes refuse unknown fields in literals. */
async function expectToCompile(text: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'sponsor-vouchers-manifests-'))
  try {
    await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    await writeFile(join(folder, 'manifests.ts'), text)
    const compiler = join(ROOT, 'node_modules/typescript/bin/tsc')
    const options = ['--noEmit', '--strict', '--module', 'nodenext', '--types', '']
    const { status, stdout } = spawnSync(process.execPath, [compiler, ...options, 'manifests.ts'], {
      cwd: folder,
    })
    expect(status, String(stdout)).toBe(0)
  } finally {
    await rm(folder, { recursive: true })
  }
}
