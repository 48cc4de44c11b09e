import type { NodeTable } from '../node-table.js'
import type { ApiKeys } from '../keys/api-keys.js'
import { LoadHistory, type NodeCounts, sampleEveryMs } from './load-history.js'
import { ConsoleSessions } from './sessions.js'

export interface ConsoleDeps {
  readonly nodeId: string
  readonly apiKeys: ApiKeys
  readonly nodeTable: NodeTable
  readonly counts: () => Promise<NodeCounts>
}

/** What the role `console` keeps: who is signed in, and the load of the last hour. */
export class Console {
  readonly sessions: ConsoleSessions
  readonly history: LoadHistory
  readonly #deps: ConsoleDeps

  constructor (deps: ConsoleDeps) {
    this.#deps = deps
    this.sessions = new ConsoleSessions(deps.apiKeys)
    this.history = new LoadHistory(deps.nodeId)
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
    const { nodeTable, counts } = this.#deps
    const [{ rows }, counted] = await Promise.all([nodeTable.rows(sampleEveryMs), counts()])
    this.history.sample(Date.now(), rows, counted)
  }
}
