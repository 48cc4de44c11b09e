import { GatewayError } from '../../schemas/errors.js'
import type { Entry } from '../../schemas/facts.js'
import type { UplinkAccepted } from '../../schemas/records.js'
import type { Question } from '../links.js'
import { resync, Sink, type SinkDeps, tellKnown } from './answers.js'
import type { Effect } from './effects.js'
import { fold } from './fold.js'
import { decodeSnapshot, encodeSnapshot, unsavable } from './snapshot.js'
import { newUser, type UserState } from './state.js'

/** A user actor's mailbox holds slices of the ledger, and questions that change nothing. */
export type UserMessage = Entries | Question | TakeSnapshot

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
  reply (userId: string, snapshot: SavedAs): void
}

/**
 * A state as it is to be saved; `asItIs` where what is saved must stay, of a user who is set aside; undefined where
 * there is none just now: nobody's may be saved then, for they belong together.
 */
export type SavedAs = Buffer | 'asItIs' | undefined

export interface UserActorDeps extends SinkDeps {
  /** The saved snapshot, or undefined. */
  load (userId: string): Promise<Buffer | undefined>
  /** The user's own entries in blocks above `after` and below `before`, in order. */
  replay (userId: string, after: bigint, before: bigint): AsyncIterable<{ offset: bigint, entry: Entry }>
  /** Records an entry that failed twice; the user goes on without it. */
  setAside (entry: Entry, block: FoldingBlock, error: Error): void
  /** Records that nothing of this user is folded any more: his state can not be read or written, now or later. */
  userSetAside (error: Error): void
  /** An entry failed for the first time. */
  failed (error: Error, entry: Entry): void
  /** A defect of ours that no entry is to blame for. The next message finds the state rebuilt. */
  crashed (error: Error): void
  /** The state can't be had just now. It is tried again, each failure is told, and the user's messages wait. */
  waits (error: Error): void
  /** The wait is over: with a state, or because there is no use in waiting. */
  waited (): void
  /**
   * True for an entry so old that whoever waits for an answer to it has asked again with `Resync`, or is gone. A replay
   * of days sends no acks and downlinks of those days.
   */
  isHistory (entry: Entry, block: FoldingBlock): boolean
  /** True once the partition is somebody else's: what could not be loaded until now is his to load. */
  ended (): boolean
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
    return begin(message).catch((err: Error) => {
      if (!(err instanceof Unusable)) return null // the partition has ended, and with it the wait for the state
      setUserAside(err, 'asItIs')
      return passOver(message)
    })
  }

  function setUserAside (error: Error, savedAs: SavedAs): void {
    aside = true
    asideAs = savedAs
    deps.userSetAside(error)
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
      case 'askRequest': return null // who asks does not wait for ever
      case 'takeSnapshot': message.reply(userId, asideAs); return null
    }
  }

  function refuse (nodeId: string, connectionId: string): void {
    deps.links.toConnection({
      type: 'closeConnection', nodeId, connectionId, code: 'internal', reason: 'the state of this user can not be used',
    })
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
   *
   * @throws Unusable where waiting is of no use
   */
  async function patiently (attempt: () => Promise<UserState>): Promise<UserState> {
    let hasWaited = false
    try {
      for (let waitMs = retryMsMin; ; waitMs = Math.min(2 * waitMs, retryMsMax)) {
        try {
          return await attempt()
        } catch (err) {
          if (deps.ended() || err instanceof Unusable) throw err
          hasWaited = true
          deps.waits(err as Error)
          await new Promise(resolve => setTimeout(resolve, waitMs))
        }
      }
    } finally {
      if (hasWaited) deps.waited()
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

  /** @throws Unusable where there is a state that can not be read, or there can be none */
  async function load (): Promise<UserState> {
    const snapshot = await deps.load(userId).catch((err: Error) => {
      throw err instanceof GatewayError && err.code === 'bad-record' ? new Unusable(err) : err
    })
    if (!snapshot) return newUser()
    try {
      return decodeSnapshot(snapshot)
    } catch (err) {
      throw new Unusable(err as Error)
    }
  }

  function save (state: UserState, { reply }: TakeSnapshot): UserState | null {
    let snapshot: Buffer
    try {
      snapshot = encodeSnapshot(state)
      unwritten = false
    } catch (err) {
      if (!unwritten) {
        unwritten = true
        throw err
      }
      // What is saved is older than the checkpoint will be: nobody may take it for his state.
      setUserAside(err as Error, unsavable((err as Error).message))
      reply(userId, asideAs)
      return null
    }
    reply(userId, snapshot)
    return state
  }

  function handle (state: UserState, message: UserMessage): UserState | null | Promise<UserState | null> {
    switch (message.type) {
      case 'entries': return foldEntries(state, message, 0)
      case 'resync': resync(state, message, deps.links); return state
      case 'askRequest': tellKnown(state, message, deps.links); return state
      case 'takeSnapshot': return save(state, message)
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

/** A user's saved state that no later try will read. */
class Unusable extends Error {
  constructor (cause: Error) { super(cause.message, { cause }) }
}
