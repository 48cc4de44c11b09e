import type { AckUplinks } from '../links.js'
import type { Sink as SinkOf, Turn } from '../kind.js'
import type { UserDeps, UserTypes } from './actor.js'
import { refillOf, type Refill, send, sessionAt, tellMemberships } from './answers.js'
import { placeOf } from './derived.js'
import type { Effect } from './effects.js'

/** Performs the effects of one message; acks to one connection become one. */
export class Sink implements SinkOf<Effect> {
  /** Downlinks that follow a welcome and whose payloads have to be read first. */
  rest: (() => Promise<void>) | undefined
  #acks: AckUplinks | undefined
  /** Connection id to node of those that are to be told of rooms: once, however many rooms it are. */
  #toTell: Map<string, string> | undefined
  readonly #turn: Turn<UserTypes>
  readonly #deps: UserDeps
  readonly #readAndSend: (refill: Refill) => Promise<void>

  constructor (turn: Turn<UserTypes>, deps: UserDeps, readAndSend: (refill: Refill) => Promise<void>) {
    this.#turn = turn
    this.#deps = deps
    this.#readAndSend = readAndSend
  }

  perform (effect: Effect): void {
    const { links } = this.#deps
    const { history } = this.#turn
    if (effect.type === 'deliver') {
      const { nodeId, connectionId, seq } = effect
      this.#deps.delivers({ userId: this.#turn.key, nodeId, connectionId, seq }, history) // without the downlink itself
    }
    if (history && isRepairable(effect)) return
    switch (effect.type) {
      case 'publishUplink': (this.#turn.block.derived[placeOf.uplinks] ??= []).push(effect.uplink); return
      case 'publish': (this.#turn.block.derived[placeOf[effect.stream]] ??= []).push(effect.record); return
      case 'post': (this.#turn.block.handOn ??= []).push(effect); return
      case 'ackUplink': this.#ack(effect.nodeId, effect.connectionId, effect.seq, effect.userSeq); return
      case 'settle': this.#deps.settled(effect); return
      case 'tellMemberships': (this.#toTell ??= new Map()).set(effect.connectionId, effect.nodeId); return
      case 'welcome': {
        this.flush()
        links.toConnection(effect)
        const { nodeId, connectionId, downlinkSeq } = effect
        const { state } = this.#turn
        const session = sessionAt(state, connectionId)
        if (!session) return
        if (state.memberships.size > 0) tellMemberships(state, nodeId, connectionId, links)
        const refill = refillOf(session, nodeId, connectionId, downlinkSeq, this.#deps.resumeBytesMax)
        if (refill.unread.length > 0) this.rest = () => this.#readAndSend(refill)
        else send(refill, links)
        return
      }
      default:
        this.flush()
        links.toConnection(effect)
    }
  }

  /** Sends what is still being collected. */
  flush (): void {
    if (this.#toTell) {
      const { links } = this.#deps
      for (const [connectionId, nodeId] of this.#toTell) tellMemberships(this.#turn.state, nodeId, connectionId, links)
      this.#toTell = undefined
    }
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

/** What an edge that misses it asks for, or is told again. A close or a refusal nobody would ask for. */
function isRepairable ({ type }: Effect): boolean {
  return type === 'ackUplink' || type === 'deliver' || type === 'welcome'
}
