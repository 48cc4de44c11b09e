/**
 * Exact, by nearest rank: a run has few enough samples to keep them all.
 *
 * @param {ArrayLike<number>} sorted ascending, not empty
 * @param {number} share 0.99 for the 99th percentile
 */
export function quantile (sorted, share) {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)]
}
