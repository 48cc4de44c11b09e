import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Declared } from './declared.js'

/* Metrics of prom-client, made as declared. */

/** Gauges whose names end as those of counters do, against the conventions; others say the same by type. */
const misnamed = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total']

/** With what prom-client tells of the process and of Node.js. */
export function newRegistry (): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  for (const name of misnamed) registry.removeSingleMetric(name)
  return registry
}

export function counter<L extends string> (registry: Registry, declared: Declared<L>): Counter<L> {
  return new Counter({ ...common(registry, declared) })
}

/** A counter whose numbers are kept elsewhere, and added by `collect` whenever Prometheus asks. */
export function countedElsewhere<L extends string> (
  registry: Registry, declared: Declared<L>, collect: (counter: Counter<L>) => void
): void {
  const counter: Counter<L> = new Counter({
    ...common(registry, declared),
    collect () {
      counter.reset()
      collect(counter)
    },
  })
}

/** A gauge that `collect` sets whenever Prometheus asks; a series that it does not set is gone. */
export function gauge<L extends string> (
  registry: Registry, declared: Declared<L>, collect: (gauge: Gauge<L>) => void
): void {
  const gauge: Gauge<L> = new Gauge({
    ...common(registry, declared),
    collect () {
      gauge.reset()
      collect(gauge)
    },
  })
}

export function histogram<L extends string> (registry: Registry, declared: Declared<L>): Histogram<L> {
  return new Histogram({ ...common(registry, declared), buckets: [...declared.buckets!] })
}

function common<L extends string> (registry: Registry, { name, help, labels }: Declared<L>) {
  return { name, help, labelNames: labels, registers: [registry] }
}
