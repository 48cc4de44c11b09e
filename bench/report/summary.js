import { goals } from '../goals.js'

const baselines = ['socket.io', 'socket.io-recovery']

/**
 * Medians over the rounds, ratios to Socket.IO, and goals.
 *
 * @param {import('../measure/measurements.js').Measurement[]} measurements
 * @param {import('../peers/peers.js').Peer[]} peers
 * @param {Map<string, object[]>} results rounds by `measurement peer`
 * @returns {Summary[]}
 *
 * @typedef {object} Summary
 * @property {string} id
 * @property {string} title
 * @property {import('../measure/measurements.js').Figure[]} figures
 * @property {Row[]} rows
 *
 * @typedef {object} Row
 * @property {string} peer
 * @property {string} label
 * @property {Record<string, Cell>} cells by figure
 * @property {number | null} serverCpu medians of the shares of a core
 * @property {number | null} loadCpu
 * @property {number | null} othersCpu of all cores
 * @property {boolean} loadBound the load generator, not the server, set the figure
 * @property {string} note why there is no figure, or fewer than there are rounds
 * @property {object[]} rounds as measured
 *
 * @typedef {object} Cell
 * @property {number} median
 * @property {number} min
 * @property {number} max
 * @property {number | null} ratio to Socket.IO in this measurement
 * @property {{ text: string, met: boolean } | null} goal
 */
export function summarise (measurements, peers, results) {
  return measurements.map(({ id, title, figures, peers: names }) => {
    const rows = peers.filter(({ name }) => names.includes(name)).map(({ name, label }) =>
      rowOf(name, label, figures, results.get(`${id} ${name}`) ?? []))
    const reference = rows.find(({ peer }) => baselines.includes(peer))
    for (const row of rows) {
      for (const [key, cell] of Object.entries(row.cells)) {
        const base = reference?.cells[key]?.median
        cell.ratio = base ? cell.median / base : null
        cell.goal = goalOf(id, row.peer, key, cell)
      }
    }
    return { id, title, figures, rows }
  })
}

function rowOf (peer, label, figures, rounds) {
  const good = rounds.filter(round => !round.error && !round.missing)
  const cells = {}
  for (const { key } of figures) {
    const values = good.map(round => round[key])
    if (values.length > 0) cells[key] = { median: median(values), min: Math.min(...values), max: Math.max(...values) }
  }
  const usages = good.map(round => round.usage).filter(Boolean)
  const bound = usages.filter(usage => usage.loadBound).length
  const bad = rounds.find(round => round.error ?? round.missing)
  return {
    peer,
    label,
    cells,
    serverCpu: medianOrNull(usages.map(usage => usage.serverCpu)),
    loadCpu: medianOrNull(usages.map(usage => usage.loadCpu)),
    othersCpu: medianOrNull(usages.map(usage => usage.othersCpu)),
    loadBound: bound > usages.length / 2,
    note: bad ? bad.missing ?? bad.error : '',
    rounds,
  }
}

function goalOf (measurement, peer, figure, cell) {
  const goal = goals.find(it => it.measurement === measurement && it.peer === peer && it.figure === figure)
  if (!goal) return null
  const value = goal.of === 'ratio' ? cell.ratio : cell.median
  const text = `${goal.min === undefined ? '<=' : '>='} ${boundText(goal, figure)}`
  if (value === null) return { text, met: null }
  return { text, met: value >= (goal.min ?? -Infinity) && value <= (goal.max ?? Infinity) }
}

function boundText ({ of, min, max }, figure) {
  const bound = min ?? max
  if (figure.endsWith('Share')) return `${bound * 100} %`
  const unit = of === 'ratio' ? ' x' : figure.endsWith('Ms') ? ' ms' : figure === 'perSecond' ? ' /s' : ''
  return `${bound.toLocaleString('en')}${unit}`
}

export function median (values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

export function medianOrNull (values) {
  const known = values.filter(value => value !== null && value !== undefined)
  return known.length > 0 ? median(known) : null
}
