import { figureText, remarkOf } from './text.js'

const width = 860
const labelWidth = 180
const valueWidth = 150
const rowHeight = 26
const barHeight = 16
const titleHeight = 46
const margin = 20
const barWidth = width - 2 * margin - labelWidth - valueWidth

// Readable on a white page and on a dark one; the picture follows the reader's system.
const style = `
  text { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; fill: #24292f }
  .title { font-size: 15px; font-weight: 600 }
  .small { font-size: 11px; fill: #59636e }
  .own { fill: #0969da } .peer { fill: #b3bcc6 } .range { stroke: #24292f; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 }
    .own { fill: #4493f8 } .peer { fill: #57606a } .range { stroke: #e6edf3 }
  }`

/**
 * Bar charts, one under the other: the first figure of each measurement, and for latencies every quantile. A thin line
 * on a bar spans the rounds from lowest to highest.
 *
 * @param {import('./summary.js').Summary[]} summaries
 * @param {string} about the machine, for the last line
 * @returns {string} an SVG document
 */
export function draw (summaries, about) {
  const charts = summaries.flatMap(chartsOf).filter(({ bars }) => bars.length > 0)
  let y = margin
  const parts = charts.map(chart => {
    const part = drawChart(chart, y)
    y += titleHeight + chart.bars.length * rowHeight + margin
    return part
  })
  const height = y + margin
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ` +
    `role="img" aria-label="Ledgerline beside its peers">
<style>${style}
</style>
${parts.join('\n')}
<text class="small" x="${margin}" y="${height - margin / 2}">${escape(about)}. * see the remark in table.md</text>
</svg>
`
}

function chartsOf ({ id, title, figures, rows }) {
  const drawn = id === 'latency' ? figures : figures.slice(0, 1)
  return drawn.map(({ key, label, unit, lower }) => ({
    title: drawn.length > 1 ? `${title}, ${label}` : title,
    hint: lower ? 'less is better' : 'more is better',
    bars: rows.filter(row => row.cells[key]).map(row => ({
      label: row.label, own: row.peer.startsWith('ledgerline'), unit, remark: remarkOf(row), ...row.cells[key],
    })),
  }))
}

function drawChart ({ title, hint, bars }, top) {
  const scale = barWidth / Math.max(...bars.map(bar => bar.max), Number.MIN_VALUE)
  const lines = bars.map((bar, i) => drawBar(bar, top + titleHeight + i * rowHeight, scale))
  return `<text class="title" x="${margin}" y="${top + 16}">${escape(title)}</text>
<text class="small" x="${margin}" y="${top + 33}">${hint}</text>
${lines.join('\n')}`
}

function drawBar (bar, y, scale) {
  const x = margin + labelWidth
  const middle = y + barHeight / 2
  const length = value => Math.max(0, value * scale).toFixed(1)
  const end = x + Number(length(bar.max)) + 8
  const ratio = bar.ratio === null || bar.ratio === 1 ? '' : ` (${bar.ratio.toFixed(2)} x)`
  return `<text x="${margin}" y="${middle + 4.5}">${escape(bar.label)}</text>
<rect class="${bar.own ? 'own' : 'peer'}" x="${x}" y="${y}" width="${length(bar.median)}" height="${barHeight}" rx="2">` +
    `${bar.remark ? `<title>${escape(bar.remark)}</title>` : ''}</rect>
<path class="range" d="M${x + Number(length(bar.min))} ${middle}H${x + Number(length(bar.max))}"/>
<text x="${end}" y="${middle + 4.5}">${figureText(bar.median, bar.unit)}${ratio}${bar.remark ? ' *' : ''}</text>`
}

function escape (text) {
  return text.replace(/[&<>"]/g, char => `&#${char.charCodeAt(0)};`)
}
