import { readFileSync } from 'node:fs'
import t from 'tap'
import { labelsLeft, misfit } from './promql.js'

interface Target { readonly expr: string, readonly legendFormat: string, readonly refId: string }

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly gridPos: { readonly x: number, readonly y: number, readonly w: number, readonly h: number }
  readonly targets?: readonly Target[]
}

interface Variable { readonly name: string, readonly query: string | { readonly query: string } }

interface Dashboard {
  readonly uid: string
  readonly panels: readonly Panel[]
  readonly annotations: { readonly list: ReadonlyArray<{ readonly expr: string }> }
  readonly templating: { readonly list: readonly Variable[] }
}

const path = new URL('../../../deploy/grafana/ledgerline.json', import.meta.url)
const dashboard = JSON.parse(readFileSync(path, 'utf8')) as Dashboard
const charts = dashboard.panels.filter(({ type }) => type !== 'row')
const variables = dashboard.templating.list.map(({ name }) => name)

/** As Grafana asks it: each variable in its place. */
function filledIn (expression: string): string {
  return expression.replaceAll('$__rate_interval', '5m').replace(/\$(\w+)/g, (_, name: string) => {
    if (!variables.includes(name)) throw new Error(`no variable ${name}`)
    return 'x'
  })
}

t.test('deploy/grafana/ledgerline.json', async t => {
  t.test('asks only for what a node exports, by the labels that it has', async t => {
    for (const { title, targets } of charts) {
      t.ok(targets!.length > 0, title)
      for (const { expr } of targets!) t.equal(misfit(filledIn(expr)), '', title)
    }
    for (const { expr } of dashboard.annotations.list) t.equal(misfit(filledIn(expr)), '')
  })

  t.test('names each line by labels that it has', async t => {
    for (const { title, targets } of charts) {
      for (const { expr, legendFormat } of targets!) {
        const left = labelsLeft(filledIn(expr))
        for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) t.ok(left.includes(label!), `${title}: ${label}`)
      }
    }
  })

  t.test('lets one choose among what is there', async t => {
    for (const { name, query } of dashboard.templating.list) {
      if (name === 'datasource') continue
      const [, selector, label] = /^label_values\((.+), (\w+)\)$/.exec((query as { query: string }).query)!
      t.equal(misfit(filledIn(selector!)), '', name)
      t.ok(labelsLeft(filledIn(selector!)).includes(label!), name)
    }
  })

  t.test('has each panel in a place of its own, under a number of its own', async t => {
    t.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length)
    const taken = new Set<string>()
    for (const { title, gridPos: { x, y, w, h } } of dashboard.panels) {
      t.ok(x + w <= 24, title)
      for (let column = x; column < x + w; column++) {
        for (let line = y; line < y + h; line++) {
          t.notOk(taken.has(`${column} ${line}`), title)
          taken.add(`${column} ${line}`)
        }
      }
    }
  })
})
