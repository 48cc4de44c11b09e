import type { Effect } from '../actors/user/effects.js'
import type { UserState } from '../actors/user/state.js'
import type { Entry } from '../schemas/facts.js'
import { type AddStep, type Subject, timeOf, type Verdict, whileOf } from './trace.js'

/** A connection of the session, and how far its client got on it. */
interface Line {
  readonly connectionId: string
  readonly nodeId: string
  readonly openedAtMs: number
  /** Highest uplink seq that reached us on it; 0 for none. */
  receivedSeq: number
  closed?: { readonly atMs: number, readonly code: string }
}

/** What became of one uplink, by the session that the device named it in and its seq there. */
export class UplinkSubject implements Subject {
  readonly #lines: Line[] = []
  #accepted: { readonly atMs: number, readonly userSeq: number } | undefined
  #refused: { readonly atMs: number, readonly expectedSeq: number } | undefined
  /** It came on a connection whose session the device had begun anew since. */
  #orphaned = false

  constructor (readonly sessionId: string, readonly seq: number) {}

  after (entry: Entry, effects: readonly Effect[], state: UserState, step: AddStep): void {
    const { atMs, fact } = entry
    switch (fact.type) {
      case 'ConnectionOpened': {
        const { connectionId, nodeId, sessionId } = fact
        if (sessionId !== this.sessionId || this.#line(connectionId)) return
        this.#lines.push({ connectionId, nodeId, openedAtMs: atMs, receivedSeq: 0 })
        return
      }
      case 'ConnectionClosed': {
        const line = this.#line(fact.connectionId)
        if (!line || line.closed) return
        line.closed = { atMs, code: fact.code }
        if (!this.#accepted && line.receivedSeq < this.seq) {
          step('connection-ended', `a connection of the session ended with ${fact.code}, up to ${line.receivedSeq}`, line)
        }
        return
      }
      case 'UplinkReceived': {
        const line = this.#line(fact.connectionId)
        if (!line) return
        if (fact.seq > line.receivedSeq) line.receivedSeq = fact.seq
        if (fact.seq === this.seq) this.#received(atMs, line, effects, step)
      }
    }
  }

  verdict (): Verdict {
    const { seq, sessionId } = this
    if (this.#accepted) {
      const { atMs, userSeq } = this.#accepted
      return { code: 'accepted', text: `Accepted at ${timeOf(atMs)} as the user's ${userSeq}, and handed to business.` }
    }
    if (this.#refused) {
      const { atMs, expectedSeq } = this.#refused
      return {
        code: 'gap', text: `Refused at ${timeOf(atMs)}: ${expectedSeq} had to come first, and has not come since.`,
      }
    }
    if (this.#orphaned) {
      return { code: 'session-replaced', text: `Uplink ${seq} came after the device had begun another session.` }
    }
    const last = this.#lines.at(-1)
    if (!last) return { code: 'no-session', text: `No connection of session ${sessionId} has ever opened.` }
    const { connectionId, nodeId, receivedSeq, openedAtMs, closed } = last
    const where = `connection ${connectionId} on ${nodeId}`
    if (!closed) return { code: 'not-received', text: `Never reached us: ${where} is open, and has sent up to ${receivedSeq}.` }
    return {
      code: 'never-reached-us',
      text: `Never reached us: ${where} had sent up to ${receivedSeq} when it ended with ${closed.code} at ` +
        `${timeOf(closed.atMs)}, after ${whileOf(closed.atMs - openedAtMs)}, and the session has not come back since.`,
    }
  }

  #received (atMs: number, line: Line, effects: readonly Effect[], step: AddStep): void {
    step('received', 'reached the edge, and the ledger', line)
    for (const effect of effects) {
      switch (effect.type) {
        case 'publishUplink':
          this.#accepted = { atMs, userSeq: effect.uplink.userSeq }
          step('accepted', `accepted as the user's ${effect.uplink.userSeq}, and handed to business`, line)
          break
        case 'ackUplink':
          if (this.#accepted?.atMs !== atMs) step('duplicate', 'it was accepted before: the same answer again', line)
          break
        case 'refuseUplink':
          this.#refused = { atMs, expectedSeq: effect.expectedSeq }
          step('gap', `refused: ${effect.expectedSeq} has to come first`, line)
      }
    }
    if (effects.length === 0) {
      this.#orphaned = true
      step('session-replaced', 'the device had begun another session: its numbers are nobody\'s any more', line)
    }
  }

  #line (of: string): Line | undefined {
    return this.#lines.find(({ connectionId }) => connectionId === of)
  }
}
