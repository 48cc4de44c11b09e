import type { EventLog } from '../../ledger/log.js'
import { userKey } from '../../schemas/apps.js'
import type { Health } from '../../schemas/conditions.js'
import type { BroadcastReported } from '../../schemas/node-facts.js'
import { type NodeIdentity, tellOfNode } from '../node.js'

const retryMs = 1_000

export interface BroadcastReportsDeps {
  readonly log: EventLog
  readonly identity: NodeIdentity
  readonly health: Health
}

/** Tells in the stream `nodes` how far this node is: of each broadcast the last that is known, one after the other. */
export class BroadcastReports {
  readonly #deps: BroadcastReportsDeps
  /** By key of the broadcast; not told yet. */
  readonly #waiting = new Map<string, BroadcastReported>()
  #telling: Promise<void> | undefined
  #retry: NodeJS.Timeout | undefined

  constructor (deps: BroadcastReportsDeps) {
    this.#deps = deps
  }

  add (fact: BroadcastReported): void {
    this.#waiting.set(userKey(fact.app, fact.messageId), fact)
    if (this.#retry === undefined) this.#telling ??= this.#tell()
  }

  async stop (): Promise<void> {
    clearTimeout(this.#retry)
    await this.#telling
    clearTimeout(this.#retry)
  }

  async #tell (): Promise<void> {
    const { log, identity, health } = this.#deps
    try {
      for (let next; (next = this.#waiting.entries().next().value);) {
        const [key, fact] = next
        await tellOfNode(log, identity, fact)
        if (this.#waiting.get(key) === fact) this.#waiting.delete(key) // or there is a later one to be told
      }
      health.end('reports', 'broadcasts')
    } catch (err) {
      health.begin('reports', (err as Error).message, 'broadcasts')
      this.#retry = setTimeout(() => {
        this.#retry = undefined
        this.#telling ??= this.#tell()
      }, retryMs)
    } finally {
      this.#telling = undefined
    }
  }
}
