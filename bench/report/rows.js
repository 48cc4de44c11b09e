import { median, medianOrNull } from './summary.js'

/**
 * Medians over the rounds, and goals, in the shape that the other tables and the picture take.
 *
 * @param {{ id: string, title: string, figures: object[], rows: Row[] }[]} measurements
 * @param {Map<string, object[]>} results rounds by measurement, each `{ rows: { ROW: { FIGURE: number } }, shares? }`
 *   or `{ error }`
 * @param {Goal[]} goals
 * @returns {import('./summary.js').Summary[]} a row's `peer` begins with "ledgerline" where it is drawn as ours
 *
 * @typedef {object} Row
 * @property {string} name
 * @property {string} label
 * @property {boolean} own is drawn as ours
 * @property {string} [beside] the row that its figures are told as ratios to
 *
 * @typedef {object} Goal
 * @property {string} measurement
 * @property {string} row
 * @property {string} figure
 * @property {string} text
 * @property {number} [min]
 * @property {number} [max]
 * @property {string} [toRow] `min` and `max` are shares of that row's figure
 */
export function summariseRows (measurements, results, goals) {
  return measurements.map(({ id, title, figures, rows }) => {
    const all = results.get(id) ?? []
    const bad = all.find(({ error }) => error)
    const summaries = rows.map(({ name, label, own, beside }) => {
      const rounds = all.filter(({ error }) => !error).map(({ rows, ...more }) => ({ ...more, ...rows[name] }))
        .filter(round => round[figures[0].key] !== undefined)
      return { name, beside, ...rowOf(label, own, figures, rounds, bad?.error ?? '') }
    }).filter(({ rounds, note }) => rounds.length > 0 || note)
    for (const row of summaries) {
      const beside = summaries.find(({ name }) => name === row.beside)
      for (const [key, cell] of Object.entries(row.cells)) {
        const base = beside?.cells[key]?.median
        if (base) cell.ratio = cell.median / base
        cell.goal = goalOf(goals, id, row.name, key, cell, summaries)
      }
    }
    return { id, title, figures, rows: summaries, shares: sharesOf(all) }
  })
}

function rowOf (label, own, figures, rounds, note) {
  const cells = {}
  for (const { key } of figures) {
    const values = rounds.map(round => round[key]).filter(value => value !== undefined)
    if (values.length === 0) continue
    cells[key] = { median: median(values), min: Math.min(...values), max: Math.max(...values), ratio: null }
  }
  const usages = rounds.map(({ usage }) => usage).filter(Boolean)
  return {
    peer: own ? 'ledgerline' : 'part',
    label,
    cells,
    serverCpu: medianOrNull(usages.map(({ serverCpu }) => serverCpu)),
    loadCpu: medianOrNull(usages.map(({ loadCpu }) => loadCpu)),
    othersCpu: medianOrNull(usages.map(({ othersCpu }) => othersCpu)),
    loadBound: usages.filter(({ loadBound }) => loadBound).length > usages.length / 2,
    note,
    rounds,
  }
}

function goalOf (goals, measurement, row, figure, cell, rows) {
  const goal = goals.find(it => it.measurement === measurement && it.row === row && it.figure === figure)
  if (!goal) return null
  const { text, min = -Infinity, max = Infinity, toRow } = goal
  if (!toRow) return { text, met: cell.median >= min && cell.median <= max }
  const other = rows.find(({ name }) => name === toRow)?.cells[figure]
  // Another build is compared only where one was named.
  return other ? { text, met: cell.median >= min * other.median && cell.median <= max * other.median } : null
}

/** @returns {Record<string, number>} medians of the shares of a core, by who took them */
function sharesOf (rounds) {
  const known = rounds.map(({ shares }) => shares).filter(Boolean)
  return Object.fromEntries(Object.keys(known[0] ?? {}).map(name => [name, median(known.map(shares => shares[name]))]))
}
