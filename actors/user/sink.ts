import type { UplinkAccepted } from '../../schemas/records.js'
import type { AckUplinks, Links } from '../links.js'
import { refillOf, type Refill, send, sessionAt } from './answers.js'
import type { DownlinkOutcome, Effect } from './effects.js'
import type { UserState } from './state.js'

export interface SinkDeps {
  readonly links: Links
  /** Counts how downlinks end. */
  settled (outcome: DownlinkOutcome): void
  /** Payload bytes of downlinks that follow a welcome unasked. */
  readonly resumeBytesMax: number
}

/** Performs the effects of one message; acks to one connection become one. */
export class Sink {
  /**
   * Downlinks that follow a welcome and whose payloads have to be read first. Whoever performs effects looks for them
   * after those of each entry, and performs no others before they are sent.
   */
  refill: Refill | undefined
  #acks: AckUplinks | undefined
  readonly #state: UserState
  readonly #uplinks: UplinkAccepted[]
  readonly #deps: SinkDeps
  readonly #history: boolean

  constructor (state: UserState, uplinks: UplinkAccepted[], deps: SinkDeps, history: boolean) {
    this.#state = state
    this.#uplinks = uplinks
    this.#deps = deps
    this.#history = history
  }

  perform (effect: Effect): void {
    const { links } = this.#deps
    if (this.#history && isRepairable(effect)) return
    switch (effect.type) {
      case 'publishUplink': this.#uplinks.push(effect.uplink); return
      case 'ackUplink': this.#ack(effect.nodeId, effect.connectionId, effect.seq, effect.userSeq); return
      case 'settle': this.#deps.settled(effect); return
      case 'welcome': {
        this.flush()
        links.toConnection(effect)
        const { nodeId, connectionId, downlinkSeq } = effect
        const session = sessionAt(this.#state, connectionId)
        if (!session) return
        const refill = refillOf(session, nodeId, connectionId, downlinkSeq, this.#deps.resumeBytesMax)
        if (refill.unread.length > 0) this.refill = refill
        else send(refill, links)
        return
      }
      default:
        this.flush()
        links.toConnection(effect)
    }
  }

  /** Sends the ack that is still being collected. */
  flush (): void {
    if (!this.#acks) return
    this.#deps.links.toConnection(this.#acks)
    this.#acks = undefined
  }

  #ack (nodeId: string, connectionId: string, seq: number, userSeq: number): void {
    const acks = this.#acks
    if (acks && acks.connectionId === connectionId && seq === acks.seq + 1 && userSeq > 0) {
      acks.seq = seq
      acks.userSeqs.push(userSeq)
      return
    }
    this.flush()
    this.#acks = { type: 'ackUplinks', nodeId, connectionId, seq, userSeqs: userSeq > 0 ? [userSeq] : [] }
  }
}

/** What an edge that misses it asks for again. A close or a refusal nobody would ask for. */
function isRepairable ({ type }: Effect): boolean {
  return type === 'ackUplink' || type === 'deliver' || type === 'welcome'
}
