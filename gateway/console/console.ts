import type { ApiKeys } from '../keys/api-keys.js'
import type { NodeTable } from '../node-table.js'
import { type LagSource, Lags } from './lags.js'
import { LoadHistory, sampleEveryMs } from './load-history.js'
import { ConsoleSessions } from './sessions.js'

export interface ConsoleDeps {
  readonly apiKeys: ApiKeys
  readonly nodeTable: NodeTable
  readonly lag: LagSource
}

/** What the role `console` keeps: who is signed in, and the load of the last hour. */
export class Console {
  readonly sessions: ConsoleSessions
  readonly history = new LoadHistory()
  readonly #deps: ConsoleDeps
  readonly #lags: Lags

  constructor (deps: ConsoleDeps) {
    this.#deps = deps
    this.#lags = new Lags(deps.lag)
    this.sessions = new ConsoleSessions(deps.apiKeys)
  }

  /** Takes samples from now on. @returns what ends it */
  start (): () => void {
    const timer = setInterval(() => {
      this.#sample()
      // Sessions end by themselves, too.
      this.#deps.apiKeys.cutStale()
    }, sampleEveryMs)
    return () => { clearInterval(timer) }
  }

  async #sample (): Promise<void> {
    const { rows } = await this.#deps.nodeTable.rows(sampleEveryMs)
    this.history.sample(Date.now(), rows, this.#lags.latest())
  }
}
