import type { DownlinkOutcome, Effect } from '../actors/user/effects.js'
import { headSeq, type UserState } from '../actors/user/state.js'
import type { ConnectionOpened, Entry, Fact } from '../schemas/facts.js'
import { endInWords, type Line, Lines, operatorInWords } from './lines.js'

/** What a mark of a timeline is about. */
export type MarkEvent =
  | 'opened' | 'closed' | 'told-to-end' | 'token-renewed'
  | 'uplink' | 'repeated' | 'gap' | 'refused'
  | 'requested' | 'redelivered' | 'sent' | 'written' | DownlinkOutcome['outcome']
  | 'kick' | 'banned' | 'ban-lifted' | 'room-granted' | 'room-revoked'
  | 'set-aside'

/** Something that happened to a user, for a picture. Texts are empty and numbers 0 where they do not matter. */
export interface Mark {
  readonly event: MarkEvent
  readonly deviceId: string
  readonly connectionId: string
  readonly messageId: string
  /** Of an uplink or a downlink, within its session. */
  readonly seq: number
  /** Of errors.ts, where something was refused, dropped or ended. */
  readonly code: string
  readonly text: string
}

export type AddMark = (event: MarkEvent, about: Partial<Mark>) => void

/** Turns entries, and what the production fold made of them, into marks. */
export class Marks {
  readonly lines = new Lines()
  /** By connection, what was sent on it and is not known to be written, by seq. */
  readonly #sent = new Map<string, Map<number, string>>()

  after (entry: Entry, effects: readonly Effect[], state: UserState, add: AddMark): void {
    const { fact } = entry
    this.lines.after(entry, effects)
    this.#fact(fact, effects, add)
    this.#written(fact, add)
    for (const effect of effects) this.#effect(effect, fact, state, add)
    if (fact.type === 'ConnectionClosed') this.#closed(fact.connectionId, add)
  }

  #fact (fact: Fact, effects: readonly Effect[], add: AddMark): void {
    switch (fact.type) {
      case 'ConnectionOpened': this.#opened(fact, effects, add); break
      case 'UplinkReceived': {
        const text = fact.service === '' ? '' : `for ${fact.service}`
        add(uplinkEvent(effects), { ...this.#place(fact.connectionId), seq: fact.seq, text })
        break
      }
      case 'UplinksRefused': {
        const { connectionId, fromSeq, toSeq, code, count } = fact
        add('refused', { ...this.#place(connectionId), seq: fromSeq, code, text: `${count} uplinks, ${fromSeq} to ${toSeq}` })
        break
      }
      case 'DownlinkRequested': {
        const { messageId, service } = fact
        add('requested', { messageId, text: service === '' ? '' : `by ${service}` })
        break
      }
      case 'DownlinkRedelivered': {
        const { messageId, deviceId, seq } = fact
        add('redelivered', { messageId, deviceId, seq, text: asked(fact) })
        break
      }
      case 'KickRequested': add('kick', { ...this.#place(fact.connectionId), text: asked(fact) }); break
      case 'UserBanned': add('banned', { deviceId: fact.deviceId, text: asked(fact) }); break
      case 'BanLifted': add('ban-lifted', { text: asked(fact) }); break
      case 'TokenRenewed': add('token-renewed', this.#place(fact.connectionId)); break
      case 'RoomGranted': add('room-granted', { text: `room ${fact.roomId}, ${fact.rights}` }); break
      case 'RoomRevoked': add('room-revoked', { text: because(`room ${fact.roomId}`, fact.reason) })
    }
  }

  #opened (
    { connectionId, platform, client, transport, address }: ConnectionOpened, effects: readonly Effect[], add: AddMark
  ): void {
    const resumed = effects.some(effect => effect.type === 'welcome' && effect.resumed)
    const who = [platform, client].filter(text => text !== '').join(', ')
    const text = `${resumed ? 'resumed' : 'began anew'}: ${who} over ${transport} from ${address}`
    add('opened', { ...this.#place(connectionId), text })
  }

  /** Reports say how far a socket was written, not one by one. */
  #written (fact: Fact, add: AddMark): void {
    if (fact.type !== 'DeliveryReported' && fact.type !== 'ConnectionClosed') return
    const sent = this.#sent.get(fact.connectionId) ?? new Map<number, string>()
    for (const [seq, messageId] of sent) {
      if (seq > fact.writtenSeq) continue
      add('written', { ...this.#place(fact.connectionId), messageId, seq })
      sent.delete(seq)
    }
  }

  #effect (effect: Effect, fact: Fact, state: UserState, add: AddMark): void {
    switch (effect.type) {
      case 'deliver': this.#send(effect.connectionId, effect.seq, effect.downlink.messageId, add); break
      case 'welcome': {
        const session = state.sessions.get(this.lines.get(effect.connectionId)?.opened.deviceId ?? '')
        for (const [i, { messageId }] of (session?.outbox ?? []).slice(0, session?.numbered).entries()) {
          const seq = headSeq(session!) + i
          if (seq > effect.downlinkSeq && seq <= effect.lastSeq) this.#send(effect.connectionId, seq, messageId, add)
        }
        break
      }
      case 'closeConnection': add('told-to-end', {
        ...this.#place(effect.connectionId), code: effect.code, text: effect.reason,
      }); break
      case 'settle': {
        const { outcome, messageId, deviceId, seq, reason } = effect
        const connectionId = 'connectionId' in fact && fact.type !== 'KickRequested' ? fact.connectionId : ''
        const text = fact.type === 'DownlinkSkipped' ? fact.reason : ''
        add(outcome, { messageId, deviceId, seq, connectionId, code: reason, text })
      }
    }
  }

  #send (connectionId: string, seq: number, messageId: string, add: AddMark): void {
    let sent = this.#sent.get(connectionId)
    if (!sent) this.#sent.set(connectionId, sent = new Map())
    if (sent.has(seq)) return
    sent.set(seq, messageId)
    add('sent', { ...this.#place(connectionId), messageId, seq })
  }

  #closed (connectionId: string, add: AddMark): void {
    this.#sent.delete(connectionId)
    const end = this.lines.get(connectionId)?.end
    if (!end) return
    const { code, reason } = end.closed
    add('closed', { ...this.#place(connectionId), code, text: because(endInWords(end.cause), reason) })
  }

  #place (connectionId: string): { connectionId: string, deviceId: string } {
    return { connectionId, deviceId: deviceOf(this.lines.get(connectionId)) }
  }
}

function deviceOf (line: Line | undefined): string { return line?.opened.deviceId ?? '' }

function uplinkEvent (effects: readonly Effect[]): MarkEvent {
  if (effects.some(({ type }) => type === 'publishUplink')) return 'uplink'
  return effects.some(({ type }) => type === 'refuseUplink') ? 'gap' : 'repeated'
}

function because (what: string, reason: string): string { return reason === '' ? what : `${what}: ${reason}` }

function asked ({ by, reason }: { readonly by: string, readonly reason: string }): string {
  return because(operatorInWords(by), reason)
}
