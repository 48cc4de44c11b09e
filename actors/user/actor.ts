import type { Entry } from '../../schemas/facts.js'
import type { UplinkAccepted } from '../../schemas/records.js'
import type { AckUplinks, Links, Resync } from '../links.js'
import type { Effect, Settle } from './effects.js'
import { answerTo, fold } from './fold.js'
import { missing } from './outbox.js'
import { headSeq, missedOf, newUser, type Session, type UserState } from './state.js'
import { decodeSnapshot, encodeSnapshot } from './snapshot.js'

/** A user actor's mailbox holds slices of the ledger, and questions that change nothing. */
export type UserMessage = Entries | Resync | TakeSnapshot

/** The entries that one ledger block has for this user. */
export interface Entries {
  readonly type: 'entries'
  readonly block: FoldingBlock
  readonly entries: readonly Entry[]
}

/** A ledger block while user actors fold it. */
export interface FoldingBlock {
  readonly offset: bigint
  readonly items: readonly Entry[]
  /** What the entries folded so far add to the `uplinks` stream. */
  readonly uplinks: UplinkAccepted[]
  /** One user's entries of the block are folded and their effects performed. */
  folded (): void
}

export interface TakeSnapshot {
  readonly type: 'takeSnapshot'
  /** `undefined` where the user has none to give: it crashed, and its old one must stay. */
  reply (userId: string, snapshot: Buffer | undefined): void
}

export interface UserActorDeps {
  /** The saved snapshot, or undefined. */
  load (userId: string): Promise<Buffer | undefined>
  /** The user's own entries in blocks above `after` and below `before`, in order. */
  replay (userId: string, after: bigint, before: bigint): AsyncIterable<{ offset: bigint, entry: Entry }>
  readonly links: Links
  /** Counts how downlinks end. */
  settled (settle: Settle): void
  /** Records an entry that failed twice; the user goes on without it. */
  setAside (entry: Entry, block: FoldingBlock, error: Error): void
  /** An entry failed for the first time. */
  failed (error: Error, entry: Entry): void
  /** Something that no entry is to blame for, such as a snapshot that can't be loaded just now. It is tried again. */
  crashed (error: Error): void
  /**
   * True for an entry so old that whoever waits for an answer to it has asked again with `Resync`, or is gone. A replay
   * of days sends no acks and downlinks of those days.
   */
  isHistory (entry: Entry, block: FoldingBlock): boolean
  /** True once the partition is somebody else's: what could not be loaded until now is his to load. */
  ended (): boolean
  /** Payload bytes of downlinks that follow a welcome unasked. */
  readonly resumeBytesMax: number
}

const retryMsMin = 50
const retryMsMax = 2_000

/**
 * The shell around one user's fold. State is null until the first message, which loads the snapshot, and after a crash:
 * then the next message rebuilds it. So the actor itself never stops before its partition stops it.
 */
export function userActor (userId: string, deps: UserActorDeps) {
  /** Set after a crash: the block up to which the next message must rebuild the state. */
  let rebuildThrough = -1n

  return function receive (
    state: UserState | null, message: UserMessage
  ): UserState | null | Promise<UserState | null> {
    // Only the end of the partition ends the wait for the state.
    return state === null ? begin(message).catch(() => null) : handled(state, message)
  }

  async function begin (message: UserMessage): Promise<UserState | null> {
    const through = rebuildThrough
    const state = await patiently(() => through < 0n ? load() : rebuild(through + 1n, []))
    rebuildThrough = -1n
    return handled(state, message)
  }

  function handled (state: UserState, message: UserMessage): UserState | null | Promise<UserState | null> {
    try {
      const next = handle(state, message)
      return next instanceof Promise ? next.catch(err => crashed(state, message, err)) : next
    } catch (err) {
      return crashed(state, message, err as Error)
    }
  }

  /**
   * Snapshots or the log may be away for a while. The user's messages wait then, and in the end so does the log: were
   * the entries passed over, what they publish would be lost.
   */
  async function patiently (attempt: () => Promise<UserState>): Promise<UserState> {
    for (let waitMs = retryMsMin; ; waitMs = Math.min(2 * waitMs, retryMsMax)) {
      try {
        return await attempt()
      } catch (err) {
        if (deps.ended()) throw err
        deps.crashed(err as Error)
        await new Promise(resolve => setTimeout(resolve, waitMs))
      }
    }
  }

  /** A defect of ours. The block must not wait for us; questions have changed nothing. */
  function crashed (state: UserState, message: UserMessage, error: Error): UserState | null {
    if (deps.ended()) return null
    deps.crashed(error)
    if (message.type === 'entries') {
      rebuildThrough = message.block.offset
      message.block.folded()
      return null
    }
    if (message.type === 'takeSnapshot') message.reply(userId, undefined)
    return state
  }

  async function load (): Promise<UserState> {
    const snapshot = await deps.load(userId)
    return snapshot ? decodeSnapshot(snapshot) : newUser()
  }

  function handle (state: UserState, message: UserMessage): UserState | Promise<UserState> {
    switch (message.type) {
      case 'entries': return foldEntries(state, message, 0)
      case 'resync': resync(state, message, deps); return state
      case 'takeSnapshot': message.reply(userId, encodeSnapshot(state)); return state
    }
  }

  function foldEntries (state: UserState, message: Entries, from: number): UserState | Promise<UserState> {
    const { block, entries } = message
    if (block.offset > state.offset) { // a replay after a rebalance brings some blocks twice
      const sink = new Sink(state, block.uplinks, deps, from < entries.length && deps.isHistory(entries[from]!, block))
      for (let i = from; i < entries.length; i++) {
        let effects: Effect[]
        try {
          effects = fold(state, entries[i]!)
        } catch (err) {
          sink.flush()
          return retry(message, i, err as Error)
        }
        for (let k = 0; k < effects.length; k++) sink.perform(effects[k]!)
      }
      sink.flush()
      state.offset = block.offset
    }
    block.folded()
    return state
  }

  /** The state may be half changed: it is rebuilt up to the entry that failed, which then gets a second chance. */
  async function retry (message: Entries, index: number, error: Error): Promise<UserState> {
    const { block, entries } = message
    const entry = entries[index]!
    deps.failed(error, entry)
    const earlier = entries.slice(0, index)
    const state = await patiently(() => rebuild(block.offset, earlier))
    try {
      const sink = new Sink(state, block.uplinks, deps, deps.isHistory(entry, block))
      for (const effect of fold(state, entry)) sink.perform(effect)
      sink.flush()
      return foldEntries(state, message, index + 1)
    } catch (err) {
      deps.setAside(entry, block, err as Error)
      return foldEntries(await patiently(() => rebuild(block.offset, earlier)), message, index + 1)
    }
  }

  /** The state after all blocks below `before` and then `entries`: snapshot plus replay, without effects. */
  async function rebuild (before: bigint, entries: readonly Entry[]): Promise<UserState> {
    // An entry that was set aside earlier fails again here, and half-changes the state again: start anew without it.
    const poison = new Set<string>()
    for (;;) {
      const state = await load()
      const failed = await refold(state, before, entries, poison)
      if (failed === undefined) return state
      poison.add(failed)
    }
  }

  async function refold (
    state: UserState, before: bigint, entries: readonly Entry[], poison: Set<string>
  ): Promise<string | undefined> {
    let offset = state.offset
    let index = 0
    const step = (entry: Entry, block: bigint): string | undefined => {
      if (block !== offset) index = 0
      offset = block
      const place = `${block}.${index++}`
      if (poison.has(place)) return undefined
      try { fold(state, entry) } catch { return place }
      return undefined
    }
    for await (const replayed of deps.replay(userId, state.offset, before)) {
      const failed = step(replayed.entry, replayed.offset)
      if (failed !== undefined) return failed
      state.offset = replayed.offset
    }
    for (const entry of entries) {
      const failed = step(entry, before)
      if (failed !== undefined) return failed
    }
    return undefined
  }
}

/** Performs the effects of one message; acks to one connection become one. */
class Sink {
  #acks: AckUplinks | undefined
  readonly #state: UserState
  readonly #uplinks: UplinkAccepted[]
  readonly #deps: UserActorDeps
  readonly #history: boolean

  constructor (state: UserState, uplinks: UplinkAccepted[], deps: UserActorDeps, history: boolean) {
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
        if (session) sendMissing(session, nodeId, connectionId, downlinkSeq, this.#deps.resumeBytesMax, links)
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

function resync (state: UserState, question: Resync, { links }: UserActorDeps): void {
  const { nodeId, connectionId, welcomed, uplinkSeq, downlinkSeq, bytesMax } = question
  const session = sessionAt(state, connectionId)
  if (!session) return
  if (!welcomed) {
    links.toConnection({
      type: 'welcome',
      nodeId,
      connectionId,
      resumed: true,
      uplinkSeq: session.uplinkSeq,
      downlinkSeq: headSeq(session) - 1,
      lastSeq: session.nextSeq - 1,
      missed: missedOf(session),
    })
    sendMissing(session, nodeId, connectionId, headSeq(session) - 1, bytesMax, links)
    return
  }
  if (session.uplinkSeq > uplinkSeq) {
    const userSeqs = []
    for (let seq = uplinkSeq + 1; seq <= session.uplinkSeq; seq++) {
      const userSeq = answerTo(session, seq)
      if (userSeq > 0) userSeqs.push(userSeq)
    }
    links.toConnection({ type: 'ackUplinks', nodeId, connectionId, seq: session.uplinkSeq, userSeqs })
  }
  sendMissing(session, nodeId, connectionId, downlinkSeq, bytesMax, links)
}

/** The session whose current connection this is. */
function sessionAt (state: UserState, connectionId: string): Session | undefined {
  const connection = state.connections.get(connectionId)
  const session = connection && state.sessions.get(connection.deviceId)
  return session?.connectionId === connectionId ? session : undefined
}

function sendMissing (
  session: Session, nodeId: string, connectionId: string, afterSeq: number, bytesMax: number, links: Links
): void {
  const downlinks = missing(session, afterSeq, bytesMax)
  if (!downlinks) {
    links.toConnection({ type: 'gone', nodeId, connectionId })
    return
  }
  for (const { seq, downlink } of downlinks) {
    links.toConnection({ type: 'deliver', nodeId, connectionId, seq, downlink })
  }
}
