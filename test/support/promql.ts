import { parser } from '@prometheus-io/lezer-promql'

/** A metric that an expression reads. */
export type Selector = {
  metric: string
  /** Labels in braces, and the values to which they are compared; a pattern is split at `|`. */
  matchers: { label: string; values: string[] }[]
}

export type Query = {
  /** The texts that are no PromQL. */
  errors: string[]
  selectors: Selector[]
  /** The labels of `by`, `on` and the like. */
  groupedBy: string[]
}

/** Reads an expression with the grammar of Prometheus. Grafana's variables stand for durations. */
export function parseQuery(expression: string): Query {
  const text = expression.replaceAll('$__rate_interval', '5m')
  const found: Query = { errors: [], selectors: [], groupedBy: [] }
  parser.parse(text).iterate({
    enter({ type, from, to, node }) {
      const here = text.slice(from, to)
      if (type.isError) found.errors.push(`${text} (at ${from})`)
      if (type.name === 'Identifier' && node.parent?.name === 'VectorSelector') {
        found.selectors.push({ metric: here, matchers: [] })
      }
      if (type.name === 'LabelName' && node.parent?.name === 'GroupingLabels') {
        found.groupedBy.push(here)
      }
      if (type.name === 'UnquotedLabelMatcher') {
        const [, label = '', value = ''] = /^(\w+)\s*[=!~]+\s*"(.*)"$/s.exec(here) ?? []
        found.selectors.at(-1)?.matchers.push({ label, values: value.split('|') })
      }
    },
  })
  return found
}

/** The samples of a page of metrics: for each name, the labels with their values. */
export function parseMetrics(page: string): Map<string, Map<string, Set<string>>> {
  const names = new Map<string, Map<string, Set<string>>>()
  for (const line of page.split('\n')) {
    const [, name, labels = ''] = /^([a-z_0-9]+)(?:\{(.*)\})? /.exec(line) ?? []
    if (name === undefined) continue
    const known = names.get(name) ?? new Map<string, Set<string>>()
    names.set(name, known)
    for (const [, label = '', value = ''] of labels.matchAll(/(\w+)="([^"]*)"/g)) {
      known.set(label, (known.get(label) ?? new Set()).add(value))
    }
  }
  return names
}
