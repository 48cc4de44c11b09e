import type { Effect } from '../actors/user/effects.js'
import type { UserState } from '../actors/user/state.js'
import { isUncounted } from '../schemas/counts.js'
import type { Entry } from '../schemas/facts.js'
import { endInWords, type Line, Lines, nameOf, operatorInWords } from './lines.js'
import type { Surroundings } from './surroundings.js'
import { type AddStep, notKept, type Subject, timeOf, type Verdict, whileOf } from './trace.js'
import { goneInWords } from './uplink.js'

/** Ends whose reason says more than their code. */
const reasoned: ReadonlySet<string> = new Set(['kicked', 'banned', 'protocol', 'bad-frame', 'bad-token', 'internal', 'migrating'])

/** How connections end of a node that drains. */
const drained: ReadonlySet<string> = new Set(['migrating', 'disconnected', 'superseded'])

/** The life of one connection: who it was, what went over it, and how it ended. Messages are summed up. */
export class ConnectionSubject implements Subject {
  readonly #lines = new Lines()
  readonly #uplinks = { received: 0, fromSeq: 0, toSeq: 0, accepted: 0, repeated: 0, gaps: 0, refused: 0 }
  readonly #downlinks = { fromSeq: 0, toSeq: 0, writtenSeq: 0, ackedSeq: 0 }
  /** Its edge could not tell how far it had come. */
  #uncounted = false
  /** Downlinks of the session that were not acked when the connection ended. */
  #unacked = 0

  constructor (readonly connectionId: string) {}

  after (entry: Entry, effects: readonly Effect[], state: UserState, step: AddStep): void {
    const known = this.#lines.get(this.connectionId)
    this.#lines.after(entry, effects)
    const line = known ?? this.#lines.get(this.connectionId)
    if (!line) return
    const { fact } = entry
    if (!known) this.#opened(line, state, step)
    this.#effects(effects, step, line)
    if (!line.end) this.#rooms(fact, effects, step, line)
    if (!('connectionId' in fact) || fact.connectionId !== this.connectionId) {
      this.#successor(entry, line, step)
      return
    }
    switch (fact.type) {
      case 'UplinkReceived': this.#received(fact.seq); break
      case 'UplinksRefused':
        this.#uplinks.refused += fact.count
        step('refused', `refused ${fact.count} uplinks, from ${fact.fromSeq} to ${fact.toSeq}, with ${fact.code}`, line)
        break
      case 'DownlinkSkipped':
        this.#reported(0, fact.seq)
        step('skipped', `skipped downlink ${fact.seq}${fact.reason === '' ? '' : `: ${fact.reason}`}`, line)
        break
      case 'DeliveryReported': this.#reported(fact.writtenSeq, fact.ackedSeq); break
      case 'ConnectionClosed':
        if (line.end?.closed === fact) this.#ended(line, line.end, state, step)
    }
  }

  async verdict (surroundings: Surroundings): Promise<Verdict> {
    const { keptSince, nodeGone } = surroundings
    const { connectionId } = this
    const line = this.#lines.get(connectionId)
    if (!line) {
      if (keptSince) return notKept(`The opening of connection ${connectionId} is not`, keptSince)
      return { code: 'no-connection', cause: '', text: `No connection ${connectionId} of this user has ever opened.` }
    }
    const { openedAtMs, opened, end, closing } = line
    const where = `${nameOf(line)} of ${opened.deviceId}`
    const traffic = `Over it: ${this.#uplinksInWords()}; ${this.#downlinksInWords()}`
    if (end) {
      const { code, reason } = end.closed
      const who = closing && end.cause === closing.cause ? wantedInWords(closing) : ''
      const why = reasoned.has(code) && reason !== '' ? `: ${reason}` : ''
      return {
        code,
        cause: end.cause === code ? '' : end.cause,
        text: `After ${whileOf(end.atMs - openedAtMs)} ${where} ${endInWords(end.cause)}${who}${why}. ${traffic}; ` +
          `${this.#unacked} unacked then.${await drainInWords(line, end, surroundings)}`,
      }
    }
    const gone = await nodeGone(line.nodeId, opened.nodeEpoch)
    if (gone) {
      const text = `Nobody has told its end; its node ${goneInWords(gone)}. ${traffic}.`
      return { code: 'unreported', cause: gone.code, text }
    }
    if (closing) {
      const { atMs, cause } = closing
      const text = `Told to end at ${timeOf(atMs)} (${cause}), which its edge has not confirmed. ${traffic}.`
      return { code: 'closing', cause, text }
    }
    return { code: 'open', cause: '', text: `Since ${timeOf(openedAtMs)} ${where} is open. ${traffic}.` }
  }

  #opened (line: Line, state: UserState, step: AddStep): void {
    const { opened: { deviceId, platform, client, transport, address, sessionId }, before } = line
    const what = [platform, client].filter(text => text !== '').join(', ')
    step('opened', `opened by ${deviceId}${what === '' ? '' : ` (${what})`} over ${transport} from ${address}, ` +
      `session ${sessionId}`, line)
    if (!before) return
    const { end } = before
    step('resumed', `the device's connection before it was ${nameOf(before)}${end ? `, which ${endInWords(end.cause)}` : ''}`, {
      ...line, stage: end ? 'ended-opened' : '', sinceMs: end?.atMs,
    })
  }

  #effects (effects: readonly Effect[], step: AddStep, line: Line): void {
    for (const effect of effects) {
      if (!('connectionId' in effect) || effect.connectionId !== this.connectionId) continue
      const uplinks = this.#uplinks
      switch (effect.type) {
        case 'ackUplink':
          if (effects[0]?.type === 'publishUplink') uplinks.accepted++
          else uplinks.repeated++
          break
        case 'refuseUplink':
          if (uplinks.gaps++ === 0) step('gap', `refused an uplink: ${effect.expectedSeq} has to come first`, line)
          break
        case 'welcome': {
          const { resumed, uplinkSeq, downlinkSeq, lastSeq, missed } = effect
          this.#sent(downlinkSeq + 1, lastSeq)
          const waiting = lastSeq - downlinkSeq
          step('welcomed', `${resumed ? 'resumed' : 'began'} after uplink ${uplinkSeq} and downlink ${downlinkSeq}; ` +
            `${waiting} downlinks waited, ${missed} were missed`, line)
          break
        }
        case 'deliver': this.#sent(effect.seq, effect.seq); break
        case 'closeConnection': {
          const by = line.closing?.by ?? ''
          const who = by === '' ? '' : `, as ${operatorInWords(by)} wants`
          step('told-to-end', `told to end with ${effect.code}${who}: ${effect.reason}`, line)
        }
      }
    }
  }

  /** Which rooms business gave its user, or took from him, while it was open. */
  #rooms (fact: Entry['fact'], effects: readonly Effect[], step: AddStep, line: Line): void {
    const isTold = effects.some(effect => effect.type === 'tellMemberships' && effect.connectionId === this.connectionId)
    if (!isTold) return
    if (fact.type === 'RoomGranted') step('room-granted', `business gives the user ${fact.rights} in ${fact.roomId}`, line)
    if (fact.type === 'RoomRevoked') step('room-revoked', `business puts the user out of ${fact.roomId}`, line)
  }

  #received (seq: number): void {
    const uplinks = this.#uplinks
    uplinks.received++
    if (uplinks.fromSeq === 0 || seq < uplinks.fromSeq) uplinks.fromSeq = seq
    if (seq > uplinks.toSeq) uplinks.toSeq = seq
  }

  #sent (fromSeq: number, toSeq: number): void {
    const downlinks = this.#downlinks
    if (toSeq < fromSeq) return
    if (downlinks.fromSeq === 0) downlinks.fromSeq = fromSeq
    if (toSeq > downlinks.toSeq) downlinks.toSeq = toSeq
  }

  #reported (writtenSeq: number, ackedSeq: number): void {
    const downlinks = this.#downlinks
    if (writtenSeq > downlinks.writtenSeq) downlinks.writtenSeq = writtenSeq
    if (ackedSeq > downlinks.ackedSeq) downlinks.ackedSeq = ackedSeq
  }

  #ended (line: Line, { atMs, closed }: NonNullable<Line['end']>, state: UserState, step: AddStep): void {
    this.#reported(closed.writtenSeq, closed.ackedSeq)
    this.#uncounted = isUncounted(closed)
    const session = state.sessions.get(line.opened.deviceId)
    this.#unacked = session?.numbered ?? 0
    step('uplinks', this.#uplinksInWords(), line)
    step('downlinks', this.#downlinksInWords(), line)
    step('ended', `ended with ${closed.code}${closed.reason === '' ? '' : `, ${closed.reason}`}; ${atMs - line.openedAtMs} ms` +
      (this.#uncounted ? '' : `, ${closed.framesIn} frames in, ${closed.framesOut} out`), { ...line, stage: 'opened-ended', sinceMs: line.openedAtMs })
  }

  #successor ({ atMs, fact }: Entry, line: Line, step: AddStep): void {
    if (fact.type !== 'ConnectionOpened' || fact.deviceId !== line.opened.deviceId) return
    const next = this.#lines.get(fact.connectionId)
    if (next?.before !== line || next.openedAtMs !== atMs) return
    step('succeeded', `the device opened ${nameOf(next)}`, {
      ...line, stage: line.end ? 'ended-opened' : '', sinceMs: line.end?.atMs,
    })
  }

  #uplinksInWords (): string {
    const { received, fromSeq, toSeq, accepted, repeated, gaps, refused } = this.#uplinks
    const parts = [
      received === 0 ? 'no uplink received' : `${received} uplinks received, ${fromSeq} to ${toSeq}, ${accepted} accepted`,
      ...repeated > 0 ? [`${repeated} repeats`] : [],
      ...gaps > 0 ? [`${gaps} refused for a gap`] : [],
      ...refused > 0 ? [`${refused} refused by the edge`] : [],
    ]
    return parts.join(', ')
  }

  #downlinksInWords (): string {
    const { fromSeq, toSeq, writtenSeq, ackedSeq } = this.#downlinks
    if (toSeq === 0) return 'no downlink sent'
    const upTo = (seq: number) => seq < fromSeq ? 'none' : `up to ${seq}`
    const reported = this.#uncounted ? 'reported as ' : ''
    return `downlinks ${fromSeq} to ${toSeq} sent, ` +
      `${upTo(writtenSeq)} ${reported}written, ${upTo(ackedSeq)} ${reported}acked`
  }
}

function wantedInWords ({ cause, by }: NonNullable<Line['closing']>): string {
  if (by === '') return ''
  return cause === 'kicked-by-operator' ? ` with the key ${by}` : `, as ${operatorInWords(by)} wanted`
}

/** That it had to leave because somebody drained its node; nothing where nobody did. */
async function drainInWords (
  { nodeId, opened }: Line, { atMs, closed }: NonNullable<Line['end']>, { drainOf }: Surroundings
): Promise<string> {
  const drain = drained.has(closed.code) ? await drainOf(nodeId, opened.nodeEpoch, atMs) : undefined
  if (!drain) return ''
  const { by, reason } = drain
  return ` Its node was drained then, as ${operatorInWords(by)} wanted${reason === '' ? '' : `: ${reason}`}.`
}
