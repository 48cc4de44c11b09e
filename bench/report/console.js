import { linesOf } from './text.js'

const heads = {
  label: '',
  figure: '',
  median: 'median',
  range: 'min - max',
  ratio: 'Socket.IO',
  goal: 'goal',
  verdict: '',
  server: 'server',
  load: 'load',
  remark: '',
}
const columns = Object.keys(heads)
const left = new Set(['label', 'figure', 'verdict', 'remark'])

/**
 * One table a measurement; `server` and `load` are shares of a core.
 *
 * @param {import('./summary.js').Summary[]} summaries
 * @param {{ ratioTo?: string }} [options] what ratios are to
 */
export function printTables (summaries, { ratioTo = heads.ratio } = {}) {
  for (const summary of summaries) {
    const lines = [{ ...heads, ratio: ratioTo }, ...linesOf(summary)]
    const used = columns.filter(column => lines.slice(1).some(line => line[column] !== ''))
    const widths = used.map(column => Math.max(...lines.map(line => line[column].length)))
    console.log(`\n${summary.title}`)
    for (const line of lines) {
      const cells = used.map((column, i) =>
        left.has(column) ? line[column].padEnd(widths[i]) : line[column].padStart(widths[i]))
      console.log(`  ${cells.join('  ')}`.trimEnd())
    }
  }
}
