import type { MetricObject } from 'prom-client'
import { type Declared, declared } from './declared.js'
import { newRegistry } from './registered.js'

const intro = `# Metrics

For operators: every metric that a node has at \`GET /metrics\`, to write alerts and draw charts with. Names follow
the conventions of Prometheus: base units (seconds, bytes, ratios from 0 to 1), and counters end in \`_total\`.
Ready-made alert rules and a dashboard are in [deploy/prometheus](../deploy/prometheus) and
[deploy/grafana](../deploy/grafana); [operations.md](operations.md#metrics-and-alerts) says how to use them.

\`npm run docs:metrics\` makes this page from \`gateway/metrics/declared.ts\`; a test fails if it is out of date.

- Counters begin at 0 when the process starts: use \`rate()\` or \`increase()\`.
- Each node has its own metrics: sum over \`instance\` for a cluster.
- A histogram marked *samples* measures only some of the messages, the first one included: its quantiles are right, but
  its \`_count\` does not count messages.
- Metrics of a role (webhooks, apps, an edge) are absent, or 0, on nodes that lack it.

## Of the gateway

| Metric | Type | Labels | Meaning |
| --- | --- | --- | --- |
`

const ofProcess = `
## Of the process

Metrics of the library prom-client about the process and Node.js. Some exist on Linux only.

| Metric | Type | Labels | Meaning |
| --- | --- | --- | --- |
`

const bounds = `
## Buckets of the histograms

| Metric | From | To | Buckets |
| --- | --- | --- | --- |
`

/** docs/metrics.md. */
export function metricsPage (): string {
  const all: readonly Declared[] = Object.values(declared)
  const library = newRegistry().getMetricsAsArray() as unknown as LibraryMetric[]
  return [
    intro,
    ...all.map(({ name, type, labels, help }) => row(name, type, labels, help)),
    bounds,
    ...all.flatMap(({ name, buckets }) => buckets === undefined
      ? []
      : [`| \`${name}\` | ${buckets[0]} s | ${buckets.at(-1)} s | ${buckets.length} |\n`]),
    ofProcess,
    ...library.map(({ name, type, labelNames, help }) => row(name, type, labelNames, help)),
  ].join('')
}

/** What prom-client knows of a metric, besides what it says. */
type LibraryMetric = Pick<MetricObject, 'name' | 'help'> & { readonly type: string, readonly labelNames: readonly string[] }

function row (name: string, type: string, labels: readonly string[], help: string): string {
  const named = labels.map(label => `\`${label}\``).join(', ')
  return `| \`${name}\` | ${type} | ${named} | ${help.replace(/\.$/, '')} |\n`
}
