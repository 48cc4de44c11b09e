import { setTimeout as wait } from 'node:timers/promises'
import { startShares } from './shares.js'

/** The same bound as that of the remark in the tables, see `report/text.js`. */
const othersMax = 0.15
const lookMs = 1_000
/** So many looks in a row. */
const calmLooks = 3

/**
 * Before a round, waits until other programs rest; at most `budgetMs` over all rounds, after which they begin at once.
 *
 * @param {number} budgetMs
 * @returns {(pids: Record<string, number[]>) => Promise<void>} takes the process ids that are no others
 */
export function patience (budgetMs) {
  let leftMs = budgetMs
  return async pids => {
    for (let calm = 0; calm < calmLooks && leftMs > 0; leftMs -= lookMs) {
      const endShares = startShares(pids)
      await wait(lookMs)
      calm = endShares().others > othersMax ? 0 : calm + 1
    }
  }
}
