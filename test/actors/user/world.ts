import { strict as assert } from 'node:assert'
import type { Effect, DownlinkOutcome, Welcome } from '../../../actors/user/effects.js'
import { fold } from '../../../actors/user/fold.js'
import type { OutboxMessage } from '../../../actors/user/messages.js'
import { missing } from '../../../actors/user/outbox.js'
import { requestsMax } from '../../../actors/requests.js'
import { changesOf } from '../../../actors/user/parts.js'
import {
  connectionsMax, headSeq, newUser, outboxesFactor, outboxMax, type Session, type UserState,
} from '../../../actors/user/state.js'
import type { DownlinkRedelivered, DownlinkRequested, Entry, Fact, LoginPolicy } from '../../../schemas/facts.js'
import { at, closed, kicked, minute, opened, redelivered, refused, reported, requested, skipped, uplink } from './history.js'
import { assertAlike, SavedParts } from './saved-parts.js'

/** One thing that happens in the world; what it means depends on what went before, so any list of them is a story. */
export type Step =
  | { readonly do: 'connect', readonly device: number, readonly policy: LoginPolicy, readonly reinstalled: boolean }
  | { readonly do: 'send', readonly device: number, readonly uplinks: number }
  | { readonly do: 'read', readonly device: number, readonly frames: number }
  | { readonly do: 'ack' | 'skip' | 'report' | 'refill' | 'lose', readonly device: number }
  | { readonly do: 'drop', readonly device: number, readonly late: boolean }
  | { readonly do: 'leave', readonly device: number, readonly endSession: boolean }
  | { readonly do: 'request', readonly count: number, readonly ttlMs: number, readonly only: number, readonly except: number, readonly bytesMax: number }
  | { readonly do: 'kick', readonly device: number }
  | { readonly do: 'redeliver', readonly device: number, readonly back: number, readonly again: boolean, readonly ttlMs: number }
  | { readonly do: 'refuse', readonly device: number }
  | { readonly do: 'crash' | 'recordEnds' | 'restore' }
  | { readonly do: 'wait', readonly ms: number }
  | { readonly do: 'repeat', readonly back: number, readonly length: number }

const platforms = ['ios', 'ios', 'web', 'mac']
export const devices = platforms.length

type FromServer = Welcome | { readonly type: 'downlink', readonly seq: number, readonly messageId: string }

/** What an edge knows of one connection (actors/connection), and what is on its way to the client. */
interface Wire {
  readonly connectionId: string
  readonly device: number
  welcomed: boolean
  writtenSeq: number
  ackedSeq: number
  told: boolean
  toClient: FromServer[]
  gone: boolean
}

/** A client that keeps the rules of protocol.md 3, and what its application has seen. */
interface Client {
  readonly deviceId: string
  readonly platform: string
  sessionId: string
  wire: Wire | undefined
  /** It has read the `connected` of this connection. */
  connected: boolean
  cursor: number
  uplinkSeq: number
  ackedUplinkSeq: number
  /** Of the session as the server has it; begins anew when the session ends. */
  seen: string[]
  missed: number
}

/** What the books must say about one session from its beginning to its end. */
interface Account {
  /** Message ids; a redelivered one stands there once more. */
  readonly targeted: string[]
  readonly settled: DownlinkOutcome[]
  /** Gone without an ack; `seq` is 0 for none. */
  readonly lost: Array<{ readonly messageId: string, readonly seq: number, told: boolean }>
  ackedSeq: number
  deliveredSeq: number
}

/**
 * Clients, edges and one user's fold, with losses wherever something can be lost; asserts at every entry what must hold
 * whatever happens.
 */
export class World {
  state: UserState = newUser()
  readonly saved = new SavedParts()
  readonly entries: Entry[] = []
  /** Entries that may be repeated: a refused uplink is sent again by its client, and then counts. */
  readonly refused = new Set<Entry>()
  readonly effects: Effect[] = []
  readonly accounts = new Map<number, Account>()
  /** Of the node, the present one last; each is said to have ended when the next one begins. */
  readonly epochs = [{ epoch: 1, startedAtMs: 0, lastWordAtMs: 0 }]
  readonly clients: Client[] = platforms.map((platform, i) => ({
    deviceId: `d${i}`,
    platform,
    sessionId: `first${i}`,
    wire: undefined,
    connected: false,
    cursor: 0,
    uplinkSeq: 0,
    ackedUplinkSeq: 0,
    seen: [],
    missed: 0,
  }))

  #nowMs = 0
  #drawn = 0
  readonly #wires = new Map<string, Wire>()
  readonly #ends: Fact[] = []
  #waiting: DownlinkRequested[] = []
  readonly #requested = new Set<string>()
  readonly #announced = new Map<string, Account['lost']>()
  /** Every downlink ever requested, by order: what an operator may want once more. */
  readonly #messageIds: string[] = []
  #lastRequestId = 'r0'
  readonly #uplinkSeqs = new Map<string, number>()
  #userSeq = 0

  step (step: Step): void {
    switch (step.do) {
      case 'connect': this.#connect(this.clients[step.device]!, step.policy, step.reinstalled); return
      case 'send': this.#send(this.clients[step.device]!, step.uplinks); return
      case 'read': this.read(this.clients[step.device]!, step.frames); return
      case 'ack': this.#ack(this.clients[step.device]!); return
      case 'skip': this.#skip(this.clients[step.device]!); return
      case 'report': this.#report(this.clients[step.device]!.wire); return
      case 'refill': this.#refill(this.clients[step.device]!.wire); return
      case 'lose': this.#lose(this.clients[step.device]!.wire); return
      case 'drop': this.#drop(this.clients[step.device]!, step.late); return
      case 'leave': this.#leave(this.clients[step.device]!, step.endSession); return
      case 'request': this.#request(step); return
      case 'redeliver': this.#redeliver(step); return
      case 'refuse': this.append(refused(this.clients[step.device]!.wire?.connectionId ?? 'c0')); return
      case 'kick': this.append(kicked(`k${++this.#drawn}`, this.clients[step.device]!.wire?.connectionId)); return
      case 'crash': this.#crash(); return
      case 'recordEnds': for (const fact of this.#ends.splice(0)) this.append(fact); return
      case 'restore': this.#restore(); return
      case 'wait': this.epochs.at(-1)!.lastWordAtMs = this.#nowMs += step.ms; return
      case 'repeat': this.#repeat(step.back, step.length)
    }
  }

  /** Everybody comes online and stays until all is delivered and acked. */
  settleDown (): void {
    this.step({ do: 'recordEnds' })
    for (const client of this.clients) {
      this.#drop(client, false)
      this.#connect(client, 'device', false)
      for (let round = 0; client.wire; round++) {
        assert(round < 10, `${client.deviceId} never catches up`)
        this.#refill(client.wire)
        this.read(client, Infinity)
        this.#ack(client)
        this.#report(client.wire)
        if (client.cursor === this.state.sessions.get(client.deviceId)!.nextSeq - 1) break
      }
    }
  }

  append (fact: Fact): void { this.fold(at(this.#nowMs, fact)) }

  fold (entry: Entry): void {
    this.entries.push(entry)
    const before = new Map([...this.state.sessions].map(([deviceId, { ordinal }]) => [deviceId, ordinal]))
    const { fact } = entry
    const effects = fold(this.state, entry)
    if (fact.type === 'DownlinkRequested' && this.#isFirst(`downlink ${fact.messageId}`)) this.#noteRequest(fact, before)
    if (fact.type === 'DownlinkRedelivered' && this.#isFirst(`redelivery ${fact.requestId} ${fact.messageId}`)) {
      this.#noteRedelivery(fact)
    }
    for (const session of this.state.sessions.values()) this.#accountOf(session)
    this.#noteAcks(fact)
    for (const effect of effects) {
      this.effects.push(effect)
      if (effect.type === 'refuseUplink') this.refused.add(entry)
      this.#check(effect, before)
    }
    this.#checkState()
    if (!effects.some(effect => effect.type === 'settle' && effect.outcome === 'duplicate')) this.#checkBytes(fact)
    for (const effect of effects) this.#perform(effect)
  }

  /** The user's actor saves what has changed and ends; the next one has what the store has. */
  #restore (): void {
    this.saved.save(changesOf(this.state))
    const state = this.saved.load()
    assertAlike(this.saved.whole(), this.state)
    this.state = state
  }

  // Clients.

  #connect (client: Client, policy: LoginPolicy, reinstalled: boolean): void {
    if (reinstalled) {
      client.sessionId = `s${++this.#drawn}`
      client.uplinkSeq = client.ackedUplinkSeq = 0
    }
    const connectionId = `c${++this.#drawn}`
    // The socket that it has now may be dead without its edge having noticed: its end comes later, or with the crash.
    const wire: Wire = {
      connectionId,
      device: this.clients.indexOf(client),
      welcomed: false,
      writtenSeq: 0,
      ackedSeq: 0,
      told: false,
      toClient: [],
      gone: false,
    }
    this.#wires.set(connectionId, wire)
    client.wire = wire
    client.connected = false
    const { deviceId, platform, sessionId, cursor } = client
    const { epoch: nodeEpoch } = this.epochs.at(-1)!
    const session = { deviceId, platform, sessionId }
    this.append(opened(connectionId, { ...session, nodeEpoch, downlinkSeq: cursor, loginPolicy: policy }))
  }

  #send (client: Client, uplinks: number): void {
    const { wire } = client
    if (!wire) return
    client.uplinkSeq += uplinks
    if (client.connected) wire.told = true
    for (let seq = client.ackedUplinkSeq + 1; seq <= client.uplinkSeq; seq++) {
      this.append(uplink(wire.connectionId, seq))
    }
  }

  read (client: Client, frames: number): void {
    const { wire } = client
    if (!wire) return
    for (const frame of wire.toClient.splice(0, frames)) {
      if (frame.type === 'welcome') {
        client.connected = true
        const gap = frame.downlinkSeq - client.cursor
        assert(gap >= 0 && gap <= frame.missed, `a gap of ${gap} with ${frame.missed} announced`)
        client.cursor = frame.downlinkSeq
        client.missed += frame.missed
        client.ackedUplinkSeq = Math.max(client.ackedUplinkSeq, frame.uplinkSeq)
        if (!frame.resumed) client.seen = []
      } else {
        assert.equal(frame.seq, client.cursor + 1, 'a downlink out of order')
        client.seen.push(frame.messageId)
        client.cursor = frame.seq
      }
    }
  }

  #ack (client: Client): void {
    const { wire } = client
    if (!wire || !client.connected) return
    wire.told = true
    wire.ackedSeq = client.cursor
  }

  /** Its application gives up on the last one that it has read. */
  #skip (client: Client): void {
    const { wire } = client
    if (!wire || !client.connected || client.cursor <= wire.ackedSeq || wire.gone || !wire.welcomed) return
    this.#ack(client)
    this.append(skipped(wire.connectionId, client.cursor))
  }

  #leave (client: Client, endSession: boolean): void {
    const { wire } = client
    if (!wire || !client.connected) return
    client.wire = undefined
    wire.told = true
    this.#end(wire, endSession, false)
    // Its numbers are forgotten, so it begins as a new installation does.
    if (!endSession) return
    client.sessionId = `s${++this.#drawn}`
    client.uplinkSeq = client.ackedUplinkSeq = client.cursor = client.missed = 0
    client.seen = []
  }

  #drop (client: Client, late: boolean): void {
    const { wire } = client
    client.wire = undefined
    if (wire) this.#end(wire, false, late)
  }

  // Edges.

  #end (wire: Wire, endSession: boolean, late: boolean): void {
    if (wire.gone) return
    wire.gone = true
    const { connectionId, told, writtenSeq, ackedSeq } = wire
    const end = closed(connectionId, { told: told && wire.welcomed, writtenSeq, ackedSeq, endSession })
    if (late) this.#ends.push(end)
    else this.append(end)
  }

  #report (wire: Wire | undefined): void {
    if (!wire || wire.gone || !wire.welcomed) return
    this.append(reported(wire.connectionId, wire.ackedSeq, wire.writtenSeq))
  }

  #refill (wire: Wire | undefined): void {
    const session = wire && this.state.sessions.get(this.clients[wire.device]!.deviceId)
    if (!session || wire.gone || !wire.welcomed || session.connectionId !== wire.connectionId) return
    const downlinks = missing(session, wire.writtenSeq, 1_000)
    if (!downlinks) {
      this.clients[wire.device]!.wire = undefined
      this.#end(wire, false, false)
      return
    }
    for (const { seq, message } of downlinks) this.#write(wire, seq, message.messageId)
  }

  #write (wire: Wire, seq: number, messageId: string): void {
    if (!wire.welcomed || seq !== wire.writtenSeq + 1) return
    wire.writtenSeq = seq
    wire.toClient.push({ type: 'downlink', seq, messageId })
  }

  /** What was written never arrives; the client notices, the edge not yet. */
  #lose (wire: Wire | undefined): void {
    if (!wire) return
    wire.toClient = []
    this.clients[wire.device]!.wire = undefined
  }

  /** The node dies: nothing that it knew is recorded, and its successor ends the connections. */
  #crash (): void {
    const unrecorded = new Set(this.#ends.splice(0).map(end => 'connectionId' in end ? end.connectionId : ''))
    for (const client of this.clients) client.wire = undefined
    const { epoch } = this.epochs.at(-1)!
    this.epochs.at(-1)!.lastWordAtMs = this.#nowMs
    this.epochs.push({ epoch: Math.max(epoch + 1, this.#nowMs), startedAtMs: this.#nowMs, lastWordAtMs: this.#nowMs })
    for (const wire of this.#wires.values()) {
      if (wire.gone && !unrecorded.has(wire.connectionId)) continue
      wire.gone = true
      this.append(closed(wire.connectionId, { code: 'node-lost', told: false }))
    }
  }

  #perform (effect: Effect): void {
    if (!('connectionId' in effect)) return
    const wire = this.#wires.get(effect.connectionId)
    if (!wire || wire.gone) return
    const client = this.clients[wire.device]!
    switch (effect.type) {
      case 'welcome':
        if (wire.welcomed) return
        wire.welcomed = true
        wire.writtenSeq = effect.downlinkSeq
        wire.toClient.push(effect)
        return
      case 'deliver': this.#write(wire, effect.seq, effect.downlink.messageId); return
      case 'ackUplink':
        if (client.wire === wire) client.ackedUplinkSeq = Math.max(client.ackedUplinkSeq, effect.seq)
        return
      case 'closeConnection':
        if (client.wire === wire) client.wire = undefined
        this.#end(wire, false, true)
    }
  }

  // The ledger.

  #request ({ count, ttlMs, only, except, bytesMax }: Step & { do: 'request' }): void {
    for (let i = 0; i < count; i++) {
      this.append(requested(`m${++this.#drawn}`, {
        ttlMs,
        platforms: only < platforms.length ? [platforms[only]!] : [],
        exceptDevices: except < devices ? [`d${except}`] : [],
        outboxBytesMax: bytesMax,
      }))
    }
  }

  /** One message of late, or the last such request once more, which names another message perhaps. */
  #redeliver ({ device, back, again, ttlMs }: Step & { do: 'redeliver' }): void {
    const messageId = this.#messageIds.at(-1 - back)
    if (messageId === undefined) return
    if (!again) this.#lastRequestId = `r${++this.#drawn}`
    this.append({ ...redelivered(messageId, this.#lastRequestId, this.clients[device]!.deviceId), ttlMs })
  }

  /** A block stands in the ledger once more, late; not so late that its ids are forgotten. */
  #repeat (back: number, length: number): void {
    const start = Math.max(0, this.entries.length - back)
    if (this.#nowMs - (this.entries[start]?.atMs ?? 0) > dayMs) return
    const block = this.entries.slice(start, start + length).filter(entry => !this.refused.has(entry))
    const since = this.entries.slice(start)
    const ids = (type: Fact['type']) => since.filter(({ fact }) => fact.type === type).length
    if (ids('DownlinkRequested') + ids('DownlinkRedelivered') + ids('KickRequested') >= requestsMax) return
    if (ids('ConnectionOpened') + ids('ConnectionClosed') >= connectionsMax - 2 * devices) return
    for (const entry of block) this.fold(entry)
  }

  // What must hold.

  #isFirst (requestId: string): boolean {
    return this.#requested.size < this.#requested.add(requestId).size
  }

  /** To the device whatever the request said, and whether it has it or not; to no session that begins later. */
  #noteRedelivery ({ deviceId, messageId }: DownlinkRedelivered): void {
    const session = this.state.sessions.get(deviceId)
    if (session) this.#accountOf(session).targeted.push(messageId)
  }

  #noteRequest (fact: DownlinkRequested, sessions: ReadonlyMap<string, number>): void {
    this.#messageIds.push(fact.messageId)
    if (sessions.size === 0) {
      this.#waiting.push(fact)
      return
    }
    for (const deviceId of sessions.keys()) {
      const session = this.state.sessions.get(deviceId)!
      if (isFor(fact, session)) this.#accountOf(session).targeted.push(fact.messageId)
    }
  }

  #accountOf (session: Session): Account {
    let account = this.accounts.get(session.ordinal)
    if (!account) {
      const adopted = this.#waiting.filter(fact => isFor(fact, session))
      this.#waiting = this.#waiting.filter(fact => !isFor(fact, session))
      account = {
        targeted: adopted.map(({ messageId }) => messageId),
        settled: [],
        lost: [],
        ackedSeq: 0,
        deliveredSeq: headSeq(session) - 1,
      }
      this.accounts.set(session.ordinal, account)
    }
    return account
  }

  /** What the fact says that the client has processed, and been told. */
  #noteAcks (fact: Fact): void {
    if (fact.type === 'DownlinkSkipped') return this.#noteAck(fact.connectionId, fact.seq, true)
    if (fact.type !== 'DeliveryReported' && fact.type !== 'ConnectionClosed' && fact.type !== 'ConnectionOpened') return
    const ackedSeq = fact.type === 'ConnectionOpened' ? fact.downlinkSeq : fact.ackedSeq
    const told = fact.type === 'ConnectionClosed' ? fact.told : fact.type === 'DeliveryReported' && ackedSeq > 0
    this.#noteAck(fact.connectionId, ackedSeq, told)
  }

  #noteAck (connectionId: string, ackedSeq: number, told: boolean): void {
    const connection = this.state.connections.get(connectionId)
    const account = connection && this.accounts.get(connection.sessionOrdinal)
    if (!account) return
    account.ackedSeq = Math.max(account.ackedSeq, ackedSeq)
    if (!told) return
    for (const lost of this.#announced.get(connectionId) ?? []) lost.told = true
  }

  #check (effect: Effect, before: ReadonlyMap<string, number>): void {
    switch (effect.type) {
      case 'publishUplink': {
        const { userSeq, sessionId, seq } = effect.uplink
        assert.equal(userSeq, ++this.#userSeq, 'userSeq has a gap')
        assert.equal(seq, (this.#uplinkSeqs.get(sessionId) ?? 0) + 1, 'uplink seq has a gap')
        this.#uplinkSeqs.set(sessionId, seq)
        return
      }
      case 'settle': {
        if (effect.outcome === 'duplicate' || effect.reason === 'no-target') return
        if (effect.deviceId === '') {
          const place = this.#waiting.findIndex(({ messageId }) => messageId === effect.messageId)
          assert(place >= 0, `${effect.messageId} does not wait`)
          this.#waiting.splice(place, 1)
          return
        }
        const ordinal = before.get(effect.deviceId) ?? this.state.sessions.get(effect.deviceId)!.ordinal
        const account = this.accounts.get(ordinal)!
        const { messageId, seq, outcome } = effect
        account.settled.push(effect)
        const requests = account.targeted.filter(each => each === messageId).length
        const settled = account.settled.filter(each => each.messageId === messageId).length
        assert(settled <= requests, `${messageId} settled ${settled} times, and requested ${requests} times`)
        if (outcome !== 'acked' && outcome !== 'skipped') account.lost.push({ messageId, seq, told: false })
        return
      }
      case 'deliver': {
        const { deviceId } = this.state.connections.get(effect.connectionId)!
        const account = this.accounts.get(this.state.sessions.get(deviceId)!.ordinal)!
        assert(effect.seq > account.deliveredSeq, 'a seq was given twice')
        account.deliveredSeq = effect.seq
        return
      }
      case 'welcome': this.#checkWelcome(effect)
    }
  }

  #checkWelcome ({ connectionId, missed, downlinkSeq, lastSeq }: Welcome): void {
    const session = this.state.sessions.get(this.state.connections.get(connectionId)!.deviceId)!
    const account = this.accounts.get(session.ordinal)!
    const untold = account.lost.filter(({ seq, told }) => !told && (seq === 0 || seq > account.ackedSeq))
    const names = untold.map(({ messageId }) => messageId).join(' ')
    assert.equal(missed, untold.length, `announced ${missed}, gone and untold are ${names}`)
    this.#announced.set(connectionId, untold)
    assert.equal(lastSeq - downlinkSeq, session.outbox.length, 'the numbers of the outbox are not those announced')
    account.deliveredSeq = lastSeq
  }

  #checkState (): void {
    assert.equal(this.state.userSeq, this.#userSeq)
    for (const session of this.state.sessions.values()) {
      const { ackedSeq, toldSeq, nextSeq, numbered, outbox, connectionId, answers, answersMax } = session
      assert(ackedSeq < nextSeq && toldSeq < nextSeq, 'acked or told more than was sent')
      assert(ackedSeq < headSeq(session), 'an acked downlink is in the outbox')
      assert(numbered <= outbox.length && outbox.length <= outboxMax, 'the outbox is over its bound')
      assert(answers.length < 2 * answersMax || answers.length === 0, 'too many answers are kept')
      assert(connectionId === '' || this.state.connections.get(connectionId)?.open === true, 'an unknown connection')
      if (connectionId !== '') assert.equal(numbered, outbox.length, 'online, and a downlink has no number')
    }
    assert(this.state.requests.size <= requestsMax && this.state.connections.size <= connectionsMax)
  }

  /** What is counted is what there is, and within the bound of the request that came last. */
  #checkBytes (fact: Fact): void {
    const { sessions, waiting, waitingBytes, messages } = this.state
    if (messages.size > 50 && this.entries.length % 97 > 0) return // a look at each, at each entry, takes too long
    const held = new Map<OutboxMessage, number>()
    const bytesOf = (outbox: readonly OutboxMessage[]) => {
      for (const message of outbox) held.set(message, (held.get(message) ?? 0) + 1)
      return outbox.reduce((sum, { bytes }) => sum + bytes, 0)
    }
    for (const { outbox, outboxBytes } of sessions.values()) assert.equal(outboxBytes, bytesOf(outbox))
    assert.equal(waitingBytes, bytesOf(waiting))
    const numbers = Array.from(held.keys(), ({ number }) => number).sort((a, b) => a - b)
    assert.deepEqual(Array.from(messages, ({ number }) => number), numbers)
    for (const [message, holders] of held) assert.equal(message.holders, holders)
    assert.equal(messages.bytes, [...held.keys()].reduce((sum, { bytes }) => sum + bytes, 0))
    if (fact.type !== 'DownlinkRequested' || fact.outboxBytesMax === 0) return
    const added = [...held.keys()].find(({ messageId, requestedAtMs }) =>
      messageId === fact.messageId && requestedAtMs === this.#nowMs)
    if (!added) return // it is for nobody
    const all = [...sessions.values()].map(({ outbox }) => outbox)
    for (const outbox of [waiting, ...all]) {
      if (outbox.at(-1) !== added || outbox.length === 1) continue
      assert(bytesOf(outbox) <= fact.outboxBytesMax, 'an outbox is over its bound')
    }
    const nothingElse = all.every(outbox => outbox.length === 0 || outbox[0] === added)
    assert(messages.bytes <= outboxesFactor * fact.outboxBytesMax || nothingElse, 'all outboxes are over their bound')
  }

  /** Requested = acked + expired + dropped + still in the outbox, for every session that ever was. */
  checkBooks (): void {
    const kept = new Map([...this.state.sessions.values()].map(({ ordinal, outbox }) => [ordinal, outbox]))
    for (const [ordinal, { targeted, settled }] of this.accounts) {
      const messageIds = [...settled, ...kept.get(ordinal) ?? []].map(({ messageId }) => messageId)
      assert.deepEqual(messageIds.sort(), targeted.toSorted(), 'the books do not balance')
    }
  }

  /** The application of each client has seen, or been told to miss, everything that was for its session. */
  checkClients (): void {
    for (const client of this.clients) {
      const session = this.state.sessions.get(client.deviceId)
      if (!session) continue
      const { targeted, settled } = this.accounts.get(session.ordinal)!
      const gone = settled.filter(({ outcome }) => outcome === 'expired' || outcome === 'dropped')
      const unseen = without(targeted, client.seen)
      const unexplained = without(unseen, gone.map(({ messageId }) => messageId))
      assert.deepEqual(unexplained, [], `never seen by ${client.deviceId}`)
      assert.deepEqual(without(client.seen, targeted), [], 'seen more often than it was sent, or for somebody else')
      assert(client.missed >= unseen.length, `${unseen.length} are missing and ${client.missed} were announced`)
    }
  }
}

/** What is left of `items` when each of `others` takes one that is like it away. */
function without (items: readonly string[], others: readonly string[]): string[] {
  const left = new Map<string, number>()
  for (const other of others) left.set(other, (left.get(other) ?? 0) + 1)
  return items.filter(item => {
    const count = left.get(item) ?? 0
    left.set(item, count - 1)
    return count <= 0
  })
}

function isFor ({ platforms, exceptDevices, devices }: DownlinkRequested, { platform, deviceId }: Session): boolean {
  return (platforms.length === 0 || platforms.includes(platform)) &&
    (devices.length === 0 || devices.includes(deviceId)) && !exceptDevices.includes(deviceId)
}

export const longTtlMs = 10_000 * minute

const dayMs = 1_440 * minute
