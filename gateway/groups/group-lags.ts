import type { EventLog } from '../../ledger/log.js'
import { lagLookMs, lagOfGroup } from '../lag.js'
import { LagLook } from '../lag-look.js'
import type { GroupName, Groups } from './groups.js'

export interface GroupLag extends GroupName {
  readonly stream: string
  /** Of all partitions, that are not acked. */
  readonly blocks: number
  /** How old the oldest record is that is not acked, ms. */
  readonly ms: number
}

const lookEveryMs = 10_000
/** Past it groups are left out, those last by name: each is a row of the metrics. */
const groupsMax = 200

/** How far each group of the cluster is behind: looked up beside whoever asks, as it takes questions to the brokers. */
export class GroupLags {
  readonly #log: EventLog
  readonly #groups: Pick<Groups, 'names' | 'placesOf'>
  #known: readonly GroupLag[] = []
  #lookedMs = -Infinity
  #isLooking = false

  constructor (log: EventLog, groups: Pick<Groups, 'names' | 'placesOf'>) {
    this.#log = log
    this.#groups = groups
  }

  /**
   * As of the last look; one that is old is followed by another one. Left out are those of which a partition is not
   * known: as if it were behind by nothing there, a group would look better than it is.
   */
  latest (): readonly GroupLag[] {
    if (!this.#isLooking && performance.now() - this.#lookedMs > lookEveryMs) {
      this.#isLooking = true
      this.#look().catch(() => []).then(known => {
        this.#known = known
        this.#lookedMs = performance.now()
        this.#isLooking = false
      })
    }
    return this.#known
  }

  async #look (): Promise<readonly GroupLag[]> {
    const names = (await this.#groups.names()).slice(0, groupsMax)
    const look = new LagLook(this.#log, lagLookMs, 'oldest')
    const lags = await Promise.all(names.map(async name => {
      const lag = await lagOfGroup(look, this.#groups, name).catch(() => undefined)
      return lag?.unknown === '' ? [{ ...name, blocks: lag.blocks, ms: lag.ms }] : []
    }))
    return lags.flat()
  }
}
