import { parser } from '@prometheus-io/lezer-promql'
import { spawnSync } from 'node:child_process'
import { type Declared, declared } from '../../gateway/metrics/declared.js'
import { newRegistry } from '../../gateway/metrics/registered.js'

/** A selector of an expression: the metric, and the labels that it asks for. */
export interface Selected { readonly metric: string, readonly labels: readonly string[] }

export interface Parsed {
  readonly selected: readonly Selected[]
  /** Of `by (...)`. */
  readonly grouped: readonly string[]
}

/** @throws Error where it is no PromQL */
export function parsePromQl (expression: string): Parsed {
  const selected: Array<{ metric: string, labels: string[] }> = []
  const grouped: string[] = []
  let inGrouping = false
  parser.parse(expression).iterate({
    enter ({ name, type, from, to }) {
      const text = expression.slice(from, to)
      if (type.isError) throw new Error(`no PromQL at ${from}: ${expression}`)
      if (name === 'VectorSelector') selected.push({ metric: '', labels: [] })
      else if (name === 'Identifier') selected.at(-1)!.metric = text
      else if (name === 'GroupingLabels') inGrouping = true
      else if (name === 'LabelName') (inGrouping ? grouped : selected.at(-1)!.labels).push(text)
    },
    leave ({ name }) { if (name === 'GroupingLabels') inGrouping = false },
  })
  return { selected, grouped }
}

/** What Prometheus adds to every series, and the series that it makes of a scrape. */
const ofTarget = ['job', 'instance']

/** The labels of a series of the gateway, with those that Prometheus adds; undefined where no node exports it. */
export function labelsOf (series: string): readonly string[] | undefined {
  if (series === 'up') return ofTarget
  for (const { name, type, labels } of exported()) {
    if (type !== 'histogram' && series === name) return [...labels, ...ofTarget]
    if (type !== 'histogram') continue
    if (series === `${name}_bucket`) return [...labels, 'le', ...ofTarget]
    if (series === `${name}_sum` || series === `${name}_count`) return [...labels, ...ofTarget]
  }
  return undefined
}

type Exported = Pick<Declared, 'name' | 'labels'> & { readonly type: string }

let all: readonly Exported[] | undefined

function exported (): readonly Exported[] {
  all ??= [
    ...Object.values(declared),
    ...newRegistry().getMetricsAsArray().map(metric => {
      const { name, type, labelNames } = metric as unknown as { name: string, type: string, labelNames: string[] }
      return { name, type, labels: labelNames }
    }),
  ]
  return all
}

/** Why an expression fits no node, in words; empty where it does. */
export function misfit (expression: string): string {
  const { selected, grouped } = parsePromQl(expression)
  if (selected.length === 0) return `selects nothing: ${expression}`
  const known: string[] = []
  for (const { metric, labels } of selected) {
    const have = labelsOf(metric)
    if (have === undefined) return `no node exports ${metric}`
    const strange = labels.find(label => !have.includes(label))
    if (strange !== undefined) return `${metric} has no label ${strange}`
    known.push(...have)
  }
  const strange = grouped.find(label => !known.includes(label))
  return strange === undefined ? '' : `nothing to group by ${strange}: ${expression}`
}

/** Labels that a series of the answer may have. */
export function labelsLeft (expression: string): readonly string[] {
  const { selected, grouped } = parsePromQl(expression)
  return grouped.length > 0 ? grouped : selected.flatMap(({ metric }) => labelsOf(metric) ?? [])
}

/** Why tests that need promtool are skipped; undefined where it is there. */
export function promtoolMissing (): string | undefined {
  return promtool(['--version']) === undefined ? 'promtool is not installed (Debian package prometheus)' : undefined
}

/** @returns what it says, and whether it is content; undefined where there is no promtool */
export function promtool (args: readonly string[], input = ''): { readonly ok: boolean, readonly said: string } | undefined {
  const { error, status, stdout, stderr } = spawnSync('promtool', args, { input, encoding: 'utf8' })
  return error ? undefined : { ok: status === 0, said: stdout + stderr }
}
