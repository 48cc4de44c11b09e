const refreshMs = 1_000

/** A line on a terminal that says what runs and how long it will take; one line a run where there is no terminal. */
export function startProgress (total) {
  const startMs = performance.now()
  const live = process.stderr.isTTY
  let finished = 0
  let current = ''
  const draw = () => process.stderr.write(`\r\x1b[K[${finished + 1}/${total}] ${current}${left()}`)
  const timer = live ? setInterval(draw, refreshMs) : undefined

  function left () {
    if (finished < 2) return ''
    const seconds = (performance.now() - startMs) / finished * (total - finished) / 1000
    return seconds > 90 ? `, about ${Math.round(seconds / 60)} min left` : `, about ${Math.ceil(seconds)} s left`
  }

  return {
    show (what) {
      current = what
      if (live) draw()
    },
    done (measurement, peer, result) {
      finished++
      const [figure] = measurement.figures
      const outcome = result.error ?? result.missing ?? `${Math.round(result[figure.key] * 100) / 100} ${figure.label}`
      if (!live) process.stderr.write(`[${finished}/${total}] ${current}: ${outcome}\n`)
      else if (result.error) process.stderr.write(`\r\x1b[K${current}: ${result.error}\n`)
    },
    end () {
      clearInterval(timer)
      if (live) process.stderr.write('\r\x1b[K')
    },
  }
}
