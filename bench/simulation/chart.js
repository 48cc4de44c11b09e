/* Line charts: SVG for the docs, blocks for a terminal. */

const width = 860
const plotHeight = 150
const left = 80
const right = 30
const chartHeight = plotHeight + 90

// Readable on a white page and on a dark one; the picture follows the reader's system.
const style = `
  text { font: 12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; fill: #24292f }
  .title { font-size: 15px; font-weight: 600 }
  .small { font-size: 11px; fill: #59636e }
  .axis { stroke: #b3bcc6 } path { fill: none; stroke-width: 1.5 }
  .line-0 { stroke: #0969da } .line-1 { stroke: #bf8700 } .line-2 { stroke: #8250df }
  .bound { stroke: #cf222e; stroke-dasharray: 4 4 }
  .of-0 { fill: #0969da } .of-1 { fill: #bf8700 } .of-2 { fill: #8250df } .of-bound { fill: #cf222e }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #9198a1 } .axis { stroke: #57606a } }`

/**
 * @typedef {object} Chart
 * @property {string} title
 * @property {string} about one line below the title
 * @property {string} x what the x axis counts, such as `s`
 * @property {number} step x units between two values
 * @property {(value: number) => string} format
 * @property {Array<{ label: string, values: number[] }>} lines at most three
 * @property {{ label: string, value: number }} [bound] drawn across
 */

/** @param {Chart[]} charts @param {string} about for the last line */
export function drawCharts (charts, about) {
  const height = charts.length * chartHeight + 40
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ` +
    `role="img" aria-label="Clients that reconnect, simulated">
<style>${style}
</style>
${charts.map((chart, i) => drawChart(chart, i * chartHeight + 20)).join('\n')}
<text class="small" x="20" y="${height - 12}">${escape(about)}</text>
</svg>
`
}

function drawChart ({ title, about, x: unit, step, format, lines, bound }, top) {
  const most = Math.max(...lines.flatMap(({ values }) => values), bound?.value ?? 0)
  const count = Math.max(...lines.map(({ values }) => values.length))
  const x = i => left + i / Math.max(1, count - 1) * (width - left - right)
  const base = top + 50 + plotHeight
  const y = value => base - value / most * plotHeight
  const points = values => values.map((value, i) => `${x(i).toFixed(1)} ${y(value).toFixed(1)}`).join('L')
  const paths = lines.map(({ values }, i) => `<path class="line-${i}" d="M${points(values)}"/>`)
  const names = lines.map(({ label }, i) => ({ label, of: String(i) }))
  if (bound) names.push({ label: bound.label, of: 'bound' })
  const legend = names.map(({ label, of }, i) =>
    `<text class="of-${of}" x="${left + i * 190}" y="${top + 42}">${escape(label)}</text>`)
  const ticks = [0, 0.25, 0.5, 0.75, 1].map(share => {
    const i = share * (count - 1)
    const at = `x="${x(i).toFixed(1)}" y="${base + 16}"`
    return `<text class="small" text-anchor="middle" ${at}>${Math.round(i * step)} ${unit}</text>`
  })
  return `<text class="title" x="20" y="${top + 8}">${escape(title)}</text>
<text class="small" x="20" y="${top + 25}">${escape(about)}</text>
${legend.join('')}
<path class="axis" d="M${left} ${base}H${width - right}"/>
<text class="small" text-anchor="end" x="${left - 6}" y="${y(most) + 4}">${format(most)}</text>
<text class="small" text-anchor="end" x="${left - 6}" y="${base + 4}">0</text>
${bound ? `<path class="bound" d="M${left} ${y(bound.value).toFixed(1)}H${width - right}"/>` : ''}
${paths.join('\n')}
${ticks.join('')}`
}

const blocks = ' ▁▂▃▄▅▆▇█'

/** One line for a terminal: the highest value of each of `columns` parts. */
export function sparkline (values, columns = 72) {
  const most = Math.max(...values)
  const part = Math.max(1, values.length / columns)
  return Array.from({ length: Math.min(columns, values.length) }, (_, i) => {
    const some = values.slice(Math.floor(i * part), Math.floor((i + 1) * part))
    return blocks[most === 0 ? 0 : Math.ceil(Math.max(...some) / most * 8)]
  }).join('')
}

function escape (text) { return text.replace(/[&<>"]/g, char => `&#${char.charCodeAt(0)};`) }
