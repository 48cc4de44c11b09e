/**
 * What a histogram of Prometheus has in its buckets, summed over all its series in the texts.
 *
 * @param {string[]} texts of GET /metrics, one a node
 * @param {string} name
 * @returns {Map<number, number>} by upper bound, ascending; counts include those of all lower buckets
 * @throws Error when none of the texts has it
 */
export function bucketsOf (texts, name) {
  const buckets = new Map()
  const line = new RegExp(`^${name}_bucket\\{(?:.*,)?le="([^"]+)".*\\} (\\S+)$`, 'gm')
  for (const text of texts) {
    for (const [, le, count] of text.matchAll(line)) {
      const bound = le === '+Inf' ? Infinity : Number(le)
      buckets.set(bound, (buckets.get(bound) ?? 0) + Number(count))
    }
  }
  if (buckets.size === 0) throw new Error(`metrics: got no ${name}`)
  return new Map([...buckets].sort(([a], [b]) => a - b))
}

/**
 * Quantiles of what was observed between two readings. Within a bucket it is interpolated as if its samples were spread
 * evenly, as Prometheus does; above the last bound there is nothing to interpolate, so that bound is the answer.
 *
 * @param {Map<number, number>} before
 * @param {Map<number, number>} after
 * @param {number[]} shares 0.99 for the 99th percentile
 * @returns {{ samples: number, quantiles: number[] }}
 * @throws Error when nothing was observed
 */
export function quantilesBetween (before, after, shares) {
  const buckets = [...after].map(([bound, count]) => ({ bound, count: count - (before.get(bound) ?? 0) }))
  const samples = buckets.at(-1).count
  if (samples === 0) throw new Error('metrics: got no samples within the window')
  const quantiles = shares.map(share => {
    const rank = share * samples
    const i = buckets.findIndex(({ count }) => count >= rank)
    const { bound, count } = buckets[i]
    const { bound: lower, count: below } = buckets[i - 1] ?? { bound: 0, count: 0 }
    return bound === Infinity ? lower : lower + (bound - lower) * (rank - below) / (count - below)
  })
  return { samples, quantiles }
}
