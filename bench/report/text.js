/** More than this of a core, taken by other programs during a window, makes its figures doubtful. */
const othersCpuMax = 0.15

/** Figures as people read them, the same in every report. */
export function figureText (value, unit) {
  if (unit === 'bytes' && value >= 10 * 2 ** 20) return `${(value / 2 ** 20).toFixed(0)} MB`
  if (unit === 'ratio') return `${value.toFixed(2)} x`
  if (unit === 'bytes') return Math.abs(value) < 1024 ? `${Math.round(value)} B` : `${(value / 1024).toFixed(1)} KB`
  if (unit === 'ms') return value < 10 ? `${value.toFixed(2)} ms` : `${value.toFixed(1)} ms`
  if (unit === 'share') return value === 1 ? '100 %' : `${(Math.floor(value * 1e5) / 1e3).toFixed(3)} %`
  return Math.round(value).toLocaleString('en')
}

export function ratioText (ratio) {
  return ratio === null ? '' : `${ratio.toFixed(2)} x`
}

export function shareText (share) {
  return share === null ? '' : `${Math.round(share * 100)} %`
}

export function verdictText (goal) {
  if (!goal) return ''
  return goal.met === null ? 'no baseline' : goal.met ? 'pass' : 'miss'
}

/** What a reader must know before believing the row. */
export function remarkOf ({ note, loadBound, othersCpu, rounds }) {
  const paced = rounds.some(round => round.lateMs !== undefined)
  return [
    note.split('\n', 1)[0],
    loadBound ? `load generator ${paced ? 'sent late' : 'was the limit'}` : '',
    othersCpu > othersCpuMax ? `other programs took ${othersCpu.toFixed(1)} cores` : '',
  ].filter(Boolean).join('; ')
}

/** One line of cells for each figure of each row. */
export function linesOf ({ figures, rows }) {
  return rows.flatMap(row => figures.map(({ key, label, unit }, i) => {
    const cell = row.cells[key]
    return {
      label: i === 0 ? row.label : '',
      figure: label,
      median: cell ? figureText(cell.median, unit) : '-',
      range: cell ? `${figureText(cell.min, unit)} - ${figureText(cell.max, unit)}` : '',
      ratio: cell ? ratioText(cell.ratio) : '',
      goal: cell?.goal?.text ?? '',
      verdict: verdictText(cell?.goal),
      server: i === 0 ? shareText(row.serverCpu) : '',
      load: i === 0 ? shareText(row.loadCpu) : '',
      remark: i === 0 ? remarkOf(row) : '',
    }
  }))
}
