import type { Entry } from '../../schemas/facts.js'
import type { UplinkAccepted } from '../../schemas/records.js'
import type { Question, Resync } from '../links.js'
import type { PartId, StateChanges } from '../snapshots.js'
import { type Refill, resync, send, tellBans, tellKnown } from './answers.js'
import type { Effect } from './effects.js'
import { fold } from './fold.js'
import { changesOf, unsavable } from './parts.js'
import { Recovery, type RecoveryDeps, Unusable } from './recovery.js'
import { Sink, type SinkDeps } from './sink.js'
import type { UserState } from './state.js'

/** A user actor's mailbox holds slices of the ledger, and questions that change nothing. */
export type UserMessage = Entries | Question | TakeChanges

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

/** Asks for what is to be saved since the last time. */
export interface TakeChanges {
  readonly type: 'takeChanges'
  reply (userId: string, changes: SavedAs): void
}

/**
 * What is to be saved; `asItIs` where what is saved must stay, of a user who is set aside; undefined where there is
 * nothing to be had just now: nobody's state may be saved then, for they belong together.
 */
export type SavedAs = StateChanges | 'asItIs' | undefined

export interface UserActorDeps extends SinkDeps, RecoveryDeps {
  /** Why nothing of this user is to be folded, though his state may be read; undefined for an ordinary one. */
  readonly unfit: Error | undefined
  /** Records an entry that failed twice; the user goes on without it. */
  setAside (entry: Entry, block: FoldingBlock, error: Error): void
  /** Records that nothing of this user is folded any more: his state can not be read or written, now or later. */
  userSetAside (error: Error): void
  /** An entry failed for the first time. */
  failed (error: Error, entry: Entry): void
  /** A defect of ours that no entry is to blame for. The next message finds the state rebuilt. */
  crashed (error: Error): void
  /** Payloads of downlinks that wait are not there or can not be read; the user goes on without a refill. */
  unreadable (error: Error): void
  /**
   * True for an entry so old that whoever waits for an answer to it has asked again with `Resync`, or is gone. A replay
   * of days sends no acks and downlinks of those days.
   */
  isHistory (entry: Entry, block: FoldingBlock): boolean
}

/**
 * The shell around one user's fold. State is null until the first message, which loads what is saved, and after a
 * crash: then the next message rebuilds it. So the actor itself never stops before its partition stops it.
 */
export function userActor (userId: string, deps: UserActorDeps) {
  const recovery = new Recovery(userId, deps)
  /** Set after a crash: the block up to which the next message must rebuild the state. */
  let rebuildThrough = -1n
  /** The user is set aside. */
  let aside = false
  /** What there is to be saved of a user who is. */
  let asideAs: SavedAs = 'asItIs'
  /** His state could not be written: a second time, and he is set aside. */
  let unwritten = false

  return function receive (
    state: UserState | null, message: UserMessage
  ): UserState | null | Promise<UserState | null> {
    if (aside) return passOver(message)
    if (state !== null) return handled(state, message)
    if (deps.unfit) return setUserAside(message, deps.unfit, unsaved(deps.unfit))
    return begin(message).catch((err: Error) => {
      if (!(err instanceof Unusable)) return null // the partition has ended, and with it the wait for the state
      return setUserAside(message, err)
    })
  }

  function setUserAside (message: UserMessage, error: Error, savedAs: SavedAs = 'asItIs'): null {
    aside = true
    asideAs = savedAs
    deps.userSetAside(error)
    return passOver(message)
  }

  /** Neither the partition nor a client waits for a user who is set aside. */
  function passOver (message: UserMessage): null {
    switch (message.type) {
      case 'entries':
        for (const { fact } of message.entries) {
          if (fact.type === 'ConnectionOpened') refuse(fact.nodeId, fact.connectionId)
        }
        message.block.folded()
        return null
      case 'resync': refuse(message.nodeId, message.connectionId); return null
      case 'askRequest':
      case 'askBans': return null // who asks does not wait for ever
      case 'takeChanges': message.reply(userId, asideAs); return null
    }
  }

  function refuse (nodeId: string, connectionId: string, reason = 'the state of this user can not be used'): void {
    deps.links.toConnection({ type: 'closeConnection', nodeId, connectionId, code: 'internal', reason })
  }

  async function begin (message: UserMessage): Promise<UserState | null> {
    const through = rebuildThrough
    const state = await recovery.patiently(() => through < 0n ? recovery.load() : recovery.rebuild(through + 1n, []))
    rebuildThrough = -1n
    return handled(state, message)
  }

  function handled (state: UserState, message: UserMessage): UserState | null | Promise<UserState | null> {
    try {
      const next = handle(state, message)
      return next instanceof Promise ? next.catch(err => failedAt(state, message, err)) : next
    } catch (err) {
      return failedAt(state, message, err as Error)
    }
  }

  function failedAt (state: UserState, message: UserMessage, error: Error): UserState | null {
    if (deps.ended()) return null
    return error instanceof Unusable ? setUserAside(message, error) : crashed(state, message, error)
  }

  /** A defect of ours. The block must not wait for us; questions have changed nothing. */
  function crashed (state: UserState, message: UserMessage, error: Error): UserState | null {
    deps.crashed(error)
    if (message.type === 'entries') {
      rebuildThrough = message.block.offset
      message.block.folded()
      return null
    }
    if (message.type === 'takeChanges') message.reply(userId, undefined)
    return state
  }

  function takeChanges (state: UserState, message: TakeChanges): UserState | null {
    let changes: StateChanges
    try {
      changes = changesOf(state)
      unwritten = false
    } catch (err) {
      if (!unwritten) {
        unwritten = true
        throw err
      }
      return setUserAside(message, err as Error, unsaved(err as Error))
    }
    message.reply(userId, changes)
    return state
  }

  function handle (state: UserState, message: UserMessage): UserState | null | Promise<UserState | null> {
    switch (message.type) {
      case 'entries': return foldEntries(state, message, 0)
      case 'resync': return answer(state, message)
      case 'askRequest': tellKnown(state, message, deps.links); return state
      case 'askBans': tellBans(state, message, deps.links); return state
      case 'takeChanges': return takeChanges(state, message)
    }
  }

  function answer (state: UserState, question: Resync): UserState | Promise<UserState> {
    const refill = resync(state, question, deps.links)
    if (refill && refill.unread.length > 0) return readAndSend(state, refill).then(() => state)
    if (refill) send(refill, deps.links)
    return state
  }

  /**
   * The state is whole without the payloads, so it goes on where they can't be read: only the connection that was to
   * have them ends, and with it the session's place does not move past them.
   */
  async function readAndSend (state: UserState, refill: Refill): Promise<void> {
    let payloads: ReadonlyMap<PartId, Buffer> | undefined
    try {
      payloads = await recovery.patiently(() => recovery.payloads(state, refill.unread))
    } catch (err) {
      if (!(err instanceof Unusable)) throw err
      deps.unreadable(err)
      refuse(refill.nodeId, refill.connectionId, 'a downlink that waits can not be read')
      return
    }
    if (payloads) send(refill, deps.links, payloads) // else it asks again
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
        if (sink.refill) return readAndSend(state, sink.refill).then(() => foldEntries(state, message, i + 1))
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
    const rebuilt = () => recovery.patiently(() => recovery.rebuild(block.offset, earlier))
    const state = await rebuilt()
    try {
      const sink = new Sink(state, block.uplinks, deps, deps.isHistory(entry, block))
      for (const effect of fold(state, entry)) sink.perform(effect)
      sink.flush()
      if (sink.refill) await readAndSend(state, sink.refill)
      return foldEntries(state, message, index + 1)
    } catch (err) {
      if (err instanceof Unusable || deps.ended()) throw err
      deps.setAside(entry, block, err as Error)
      return foldEntries(await rebuilt(), message, index + 1)
    }
  }
}

/** What is saved is older than the checkpoint will be: nobody may take it for his state. */
function unsaved ({ message }: Error): StateChanges {
  return { head: unsavable(message), added: new Map(), changed: new Map(), gone: [] }
}
