import type { Effect } from '../actors/user/effects.js'
import type { UserState } from '../actors/user/state.js'
import { errorInWords } from '../schemas/errors.js'
import type { Entry, UplinksRefused } from '../schemas/facts.js'
import { endInWords, type Line, Lines, nameOf } from './lines.js'
import type { Surroundings } from './surroundings.js'
import { type AddStep, notKept, type Subject, timeOf, type Verdict, whileOf } from './trace.js'

/** What came of it at last, as long as it was not accepted. */
interface Refused { readonly atMs: number, readonly code: string, readonly text: string }

/** What became of one uplink, by the session that the device named it in and its seq there. */
export class UplinkSubject implements Subject {
  readonly #all = new Lines()
  /** The connections of the session, and the highest seq that reached us on each; 0 for none. */
  readonly #lines = new Map<string, { readonly line: Line, receivedSeq: number }>()
  #receivedAtMs = 0
  #accepted: { readonly atMs: number, readonly userSeq: number } | undefined
  /** The post that it is, where it names a room and was accepted. */
  post: { readonly roomId: string, readonly userSeq: number } | undefined
  #repeats = 0
  #refused: Refused | undefined

  constructor (readonly sessionId: string, readonly seq: number) {}

  after (entry: Entry, effects: readonly Effect[], state: UserState, step: AddStep): void {
    this.#all.after(entry, effects)
    const { atMs, fact } = entry
    switch (fact.type) {
      case 'ConnectionOpened': {
        if (fact.sessionId !== this.sessionId || this.#lines.has(fact.connectionId)) return
        this.#lines.set(fact.connectionId, { line: this.#all.get(fact.connectionId)!, receivedSeq: 0 })
        return
      }
      case 'ConnectionClosed': this.#closed(entry, fact.connectionId, step); return
      case 'UplinksRefused': this.#refusedAtEdge(atMs, fact, step); return
      case 'UplinkReceived': {
        const known = this.#lines.get(fact.connectionId)
        if (!known) return
        if (fact.seq > known.receivedSeq) known.receivedSeq = fact.seq
        if (fact.seq === this.seq) this.#received(atMs, known.line, effects, state, step)
      }
    }
  }

  async verdict (surroundings: Surroundings): Promise<Verdict> {
    const { seq, sessionId } = this
    const { keptSince } = surroundings
    const last = [...this.#lines.values()].at(-1)
    if (this.#accepted) return await this.#handedOn(this.#accepted, surroundings)
    if (keptSince) {
      // The fold begins in the middle, so what it takes for a gap may be none; the other stream knows better.
      const published = await surroundings.published(sessionId, seq, this.#receivedAtMs || 0)
      if (published) {
        return { code: 'accepted', cause: '', text: `Accepted, and handed to business at ${published.position} of uplinks.` }
      }
      if (!last || this.#refused?.code === 'gap' || last.receivedSeq > seq) {
        return notKept(`Nothing tells what became of uplink ${seq} of session ${sessionId}`, keptSince)
      }
    }
    if (this.#refused) {
      const { code, text } = this.#refused
      return { code, cause: '', text: `${text}, and it has not come since${lastWords(last!.line)}.` }
    }
    if (!last) return { code: 'no-session', cause: '', text: `No connection of session ${sessionId} has ever opened.` }
    return await this.#neverReceived(last.line, last.receivedSeq, surroundings)
  }

  async #handedOn ({ atMs, userSeq }: { atMs: number, userSeq: number }, surroundings: Surroundings): Promise<Verdict> {
    const published = await surroundings.published(this.sessionId, this.seq, atMs)
    const cause = this.#refused?.code ?? (this.#repeats > 0 ? 'duplicate' : '')
    const before = this.#refused ? `${this.#refused.text}; and it was accepted` : 'Accepted'
    const times = this.#repeats === 1 ? 'once more' : `${this.#repeats} times more`
    const after = this.#repeats > 0 ? ` It came ${times} and got the same answer.` : ''
    if (!published) {
      return {
        code: 'unpublished',
        cause,
        text: `${before} at ${timeOf(atMs)} as the user's ${userSeq}, and not in uplinks yet.${after}`,
      }
    }
    return {
      code: 'accepted',
      cause,
      text: `${before} at ${timeOf(atMs)} as the user's ${published.userSeq}, and handed to business at ` +
        `${published.position} of uplinks.${after}`,
    }
  }

  async #neverReceived (line: Line, receivedSeq: number, surroundings: Surroundings): Promise<Verdict> {
    const { connectionId, nodeId, openedAtMs, opened, end } = line
    const last = this.#all.lastOf(opened.deviceId)!
    const since = last === line
      ? 'the session has not come back since'
      : `the device began another session at ${timeOf(last.openedAtMs)}`
    const upTo = receivedSeq === 0 ? 'had sent nothing' : `had sent up to ${receivedSeq}`
    const without = receivedSeq > this.seq ? ' without it' : ''
    const where = nameOf({ connectionId, nodeId })
    if (end) {
      return {
        code: 'never-reached-us',
        cause: end.cause,
        text: `Never reached us: ${where} ${upTo}${without} and ${endInWords(end.cause)} at ` +
          `${timeOf(end.atMs)}, after ${whileOf(end.atMs - openedAtMs)}; ${since}.`,
      }
    }
    const gone = await surroundings.nodeGone(nodeId, opened.nodeEpoch)
    if (gone) {
      return {
        code: 'never-reached-us',
        cause: gone.code,
        text: `Never reached us: ${where} ${upTo}${without}, and its node ${goneInWords(gone)}.`,
      }
    }
    return { code: 'not-received', cause: '', text: `Never reached us: ${where} is open, and ${upTo}${without}.` }
  }

  #closed ({ atMs }: Entry, connectionId: string, step: AddStep): void {
    const known = this.#lines.get(connectionId)
    if (this.#accepted || !known || known.receivedSeq >= this.seq) return
    const { line, receivedSeq } = known
    if (line.end?.atMs !== atMs) return
    step('connection-ended', `a connection of the session ${endInWords(line.end.cause)}, having sent up to ${receivedSeq}`, {
      nodeId: line.nodeId, connectionId, stage: 'opened-ended', sinceMs: line.openedAtMs,
    })
  }

  #refusedAtEdge (atMs: number, { connectionId, fromSeq, toSeq, code, count }: UplinksRefused, step: AddStep): void {
    const known = this.#lines.get(connectionId)
    if (!known || this.seq < fromSeq || this.seq > toSeq) return
    const text = `Refused by its edge before ${timeOf(atMs)} with ${code}: ${errorInWords(code)}`
    this.#refused = { atMs, code, text }
    step('refused', `refused with ${code}, with all from ${fromSeq} to ${toSeq} (${count} frames)`, known.line)
  }

  #received (atMs: number, line: Line, effects: readonly Effect[], state: UserState, step: AddStep): void {
    this.#receivedAtMs = atMs
    step('received', 'reached the edge, and the ledger', line)
    for (const effect of effects) {
      switch (effect.type) {
        case 'publishUplink':
          this.#accepted = { atMs, userSeq: effect.uplink.userSeq }
          step('accepted', `accepted as the user's ${effect.uplink.userSeq}`, line)
          break
        case 'post':
          this.post = { roomId: effect.fact.roomId, userSeq: effect.userSeq }
          break
        case 'ackUplink':
          if (effects.length > 1) break // accepted just now
          this.#repeats++
          step('duplicate', 'it was accepted before: the same answer again', line)
          break
        case 'refuseUplink':
          this.#refused = {
            atMs, code: 'gap', text: `Refused at ${timeOf(atMs)}: ${effect.expectedSeq} had to come first`,
          }
          step('gap', `refused: ${effect.expectedSeq} has to come first`, line)
      }
    }
    if (effects.length > 0) return
    const { deviceId, sessionId } = line.opened
    const begun = state.sessions.get(deviceId)
    if (begun?.sessionId === sessionId) {
      const text = `It came at ${timeOf(atMs)} when a later connection of the session had taken over`
      this.#refused = { atMs, code: 'connection-replaced', text }
      step('connection-replaced', 'a later connection of the session had taken over: its uplinks come by that one', line)
      return
    }
    const code = begun ? 'session-replaced' : 'session-ended'
    const why = begun ? 'the device had begun another session' : 'the session had ended'
    this.#refused = { atMs, code, text: `It came at ${timeOf(atMs)} when ${why}, so that its number was nobody's` }
    step(code, `${why}: its numbers are nobody's any more`, line)
  }
}

function lastWords ({ end }: Line): string {
  return end ? `; the last connection of the session ${endInWords(end.cause)}` : ''
}

/** What is to be said of a node whose connections nobody has ended. */
export function goneInWords ({ code, atMs }: { code: 'node-lost' | 'node-silent', atMs: number }): string {
  return code === 'node-lost' ? `was lost at ${timeOf(atMs)}` : `has not reported since ${timeOf(atMs)}`
}
