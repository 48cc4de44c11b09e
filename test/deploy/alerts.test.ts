import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse, stringify } from 'yaml'
import { labelsLeft, misfit, parsePromQl, promtool, promtoolMissing } from './promql.js'

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly for?: string
  readonly labels: { readonly severity: string }
  readonly annotations: { readonly summary: string, readonly description: string, readonly runbook: string }
}

const root = new URL('../../../', import.meta.url)
const path = new URL('deploy/prometheus/alerts.yml', root).pathname
const { groups } = parse(readFileSync(path, 'utf8')) as { groups: Array<{ name: string, rules: Rule[] }> }
const rules = groups.flatMap(({ rules }) => rules)

/** Series, a sample a minute, of a gateway that each alert is about, and of one that is well. */
interface Case {
  readonly trouble: Series
  readonly well: Series
  /** Where one event is an alert: of a series that was there, of one that begins with it, and long ago. */
  readonly first?: Series
  readonly born?: Series
  readonly past?: Series
}
const inTrouble = ['trouble', 'first', 'born']
type Series = Readonly<Record<string, string>>

const always = (value: number) => `${value}x30`
const rising = (perMinute: number) => `0+${perMinute}x30`

/** A histogram that takes a hundred samples a minute, all of them between two bounds. */
function observed (name: string, bounds: readonly number[], reached: number): Series {
  const bucket = (le: number | string, perMinute: number) =>
    [`${name}_bucket{instance="a",le="${le}"}`, rising(perMinute)]
  return Object.fromEntries([...bounds.map(le => bucket(le, le >= reached ? 100 : 0)), bucket('+Inf', 100)])
}

const gauge = (series: string, trouble: number, well: number): Case =>
  ({ trouble: { [series]: always(trouble) }, well: { [series]: always(well) } })
const counter = (series: string, trouble: number, well: number): Case =>
  ({ trouble: { [series]: rising(trouble) }, well: { [series]: rising(well) } })
const event = (series: string): Case => ({
  ...counter(series, 1, 0),
  first: { [series]: '0x10 1x20' },
  born: { [series]: '_x10 1x20' },
  past: { [series]: '_ _ 1x28' },
})
const slow = (name: string): Case => {
  const bounds = [0.1, 10]
  return { trouble: observed(name, bounds, 10), well: observed(name, bounds, 0.1) }
}

const cases: Readonly<Record<string, Case>> = {
  LedgerlineDown: gauge('up{job="ledgerline"}', 0, 1),
  LedgerlineCondition: gauge('ledgerline_condition_seconds{condition="redis"}', 61, 0),
  LedgerlineCircuitOpen: gauge('ledgerline_circuit_state{dependency="kafka"}', 2, 0),
  LedgerlineAckSlow: slow('ledgerline_uplink_ack_seconds'),
  LedgerlineDeliverySlow: slow('ledgerline_downlink_delivery_seconds'),
  LedgerlineCommitSlow: slow('ledgerline_commit_seconds'),
  LedgerlineOverload: gauge('ledgerline_admission_level', 0.25, 0),
  LedgerlineUplinksRefused: counter('ledgerline_uplinks_refused_total{code="overloaded"}', 120, 30),
  LedgerlineMemoryShort: gauge('ledgerline_memory_pressure_ratio', 0.9, 0.5),
  LedgerlineNearlyFull: {
    trouble: { ledgerline_connections: always(95), ledgerline_connections_max: always(100) },
    well: { ledgerline_connections: always(0), ledgerline_connections_max: always(0) }, // no edge
  },
  LedgerlineSocketsRefused: counter('ledgerline_sockets_refused_total{code="rate-limited"}', 600, 60),
  LedgerlineEventLoopSlow: gauge('nodejs_eventloop_lag_p99_seconds', 0.5, 0.02),
  LedgerlineTableLag: gauge('ledgerline_table_lag_blocks{table="routing"}', 20_000, 10),
  LedgerlineSetAside: event('ledgerline_set_aside_total{what="user"}'),
  LedgerlineDownlinksDropped: {
    trouble: { 'ledgerline_downlinks_settled_total{outcome="dropped",reason="outbox-full"}': rising(60) },
    well: {
      'ledgerline_downlinks_settled_total{outcome="dropped",reason="recalled"}': rising(60),
      'ledgerline_downlinks_settled_total{outcome="acked",reason=""}': rising(60),
    },
  },
  LedgerlineWebhookBehind: gauge('ledgerline_webhook_lag_seconds{webhook="crm"}', 400, 20),
  LedgerlineWebhookUndelivered: {
    ...event('ledgerline_webhook_records_total{webhook="crm",outcome="undelivered"}'),
    well: { 'ledgerline_webhook_records_total{webhook="crm",outcome="delivered"}': rising(60) },
  },
  LedgerlineWebhookOvertaken: event('ledgerline_webhook_deleted_blocks_total{webhook="crm"}'),
  LedgerlineTokensUnjudged: {
    trouble: { 'ledgerline_auth_tokens_total{outcome="unavailable"}': rising(60) },
    well: { 'ledgerline_auth_tokens_total{outcome="refused"}': rising(60) },
  },
}

t.test('deploy/prometheus/alerts.yml', async t => {
  t.test('asks only for what a node exports, by the labels that it has', async t => {
    for (const { alert, expr } of rules) t.equal(misfit(expr), '', alert)
  })

  t.test('has each alert say what is wrong, with labels that are there, and where to read on', async t => {
    for (const { alert, expr, labels, annotations } of rules) {
      t.match(labels.severity, /^(page|ticket)$/, alert)
      const texts = Object.values(annotations).join(' ')
      for (const [, label] of texts.matchAll(/\$labels\.(\w+)/g)) t.ok(labelsLeft(expr).includes(label!), `${alert}: ${label}`)
      const [page = '', anchor] = annotations.runbook.split('#')
      t.ok(existsSync(new URL(page, root)), `${alert}: ${page}`)
      if (anchor === undefined) continue
      const headings = [...readFileSync(new URL(page, root), 'utf8').matchAll(/^#+ (.+)$/gm)]
      t.ok(headings.some(([, heading]) => anchorOf(heading!) === anchor), `${alert}: ${annotations.runbook}`)
    }
  })

  t.test('has a case for each alert here', async t => {
    t.strictSame(rules.map(({ alert }) => alert), Object.keys(cases))
    for (const { alert, expr } of rules) {
      const all: Readonly<Record<string, Series>> = { ...cases[alert]! }
      for (const series of Object.values(all).flatMap(each => Object.keys(each))) {
        const [metric] = parsePromQl(series).selected
        t.equal(misfit(series), '', alert)
        t.ok(parsePromQl(expr).selected.some(each => each.metric === metric!.metric), `${alert}: ${series}`)
      }
    }
  })

  t.test('has each alert that one event makes see a series that begins with it', async t => {
    for (const { alert, expr } of rules) t.equal(expr.includes('increase('), cases[alert]!.born !== undefined, alert)
  })

  t.test('is good rules to promtool', { skip: promtoolMissing() ?? false }, async t => {
    const checked = promtool(['check', 'rules', '--lint-fatal', path])!
    t.ok(checked.ok, checked.said)
  })

  t.test('fires in trouble, and not where all is well', { skip: promtoolMissing() ?? false }, async t => {
    const tests = rules.flatMap(({ alert, expr }) => Object.entries(cases[alert]!).map(([name, series]) => ({
      name: `${alert} ${name}`,
      interval: '1m',
      input_series: Object.entries(series as Series).map(([series, values]) => ({ series, values })),
      promql_expr_test: [{
        expr: `count(${expr})`, eval_time: '20m', exp_samples: inTrouble.includes(name) ? [{ labels: '{}', value: 1 }] : [],
      }],
    })))
    const file = join(t.testdir(), 'cases.yml')
    writeFileSync(file, stringify({ rule_files: [path], evaluation_interval: '1m', tests }))
    const tested = promtool(['test', 'rules', file])!
    t.ok(tested.ok, tested.said)
  })
})

function anchorOf (heading: string): string {
  return heading.toLowerCase().replace(/[^\w\- ]/g, '').replaceAll(' ', '-')
}
