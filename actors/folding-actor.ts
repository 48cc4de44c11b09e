import type { FoldingBlock } from './folding.js'
import type { Kind, KindTypes, Reading, Surroundings } from './kind.js'
import { Recovery, type RecoveryDeps, Unusable } from './recovery.js'
import type { StateChanges } from './snapshots.js'

/** What an actor's mailbox holds: entries of its key, and questions, which change nothing. */
export type ActorMessage<K extends KindTypes> = Entries<K> | TakeChanges | K['question']

/** The entries that one block has for this actor. */
export interface Entries<K extends KindTypes> {
  readonly type: 'entries'
  readonly block: FoldingBlock<K>
  readonly entries: ReadonlyArray<K['entry']>
}

/** Asks for what is to be saved since the last time. */
export interface TakeChanges {
  readonly type: 'takeChanges'
  reply (key: string, changes: SavedAs): void
}

/**
 * What is to be saved. `asItIs`: the actor is set aside, and its saved state stays. Undefined: the actor has no state
 * now; no state of the partition may be saved then, for they belong together.
 */
export type SavedAs = StateChanges | 'asItIs' | undefined

export interface ActorDeps<K extends KindTypes> extends RecoveryDeps<K> {
  /** Why nothing of this key is to be folded, though its state may be read; undefined for an ordinary one. */
  readonly unfit: Error | undefined
  /** Records an entry that failed twice; the actor goes on without it. */
  setAside (entry: K['entry'], block: FoldingBlock<K>, error: Error): void
  /** Records that nothing of this key is folded any more: its state can not be read or written, now or later. */
  keySetAside (error: Error): void
  /** An entry failed for the first time. */
  failed (error: Error, entry: K['entry']): void
  /** A defect of ours that no entry is to blame for. The next message finds the state rebuilt. */
  crashed (error: Error): void
  /** Parts that the state does without are not there or can not be read; the actor goes on without them. */
  unreadable (error: Error): void
  /** See `Turn.history`. */
  isHistory (entry: K['entry'], block: FoldingBlock<K>): boolean
}

/**
 * The shell around the fold of one user or room. The state is null until the first message, which loads it, and after a
 * crash, after which the next message rebuilds it. So the actor never stops before its partition stops it.
 */
export function foldingActor<K extends KindTypes> (
  kind: Pick<Kind<K>, 'one' | 'fold' | 'states'>, key: string, deps: ActorDeps<K>,
  around: Pick<Surroundings<K>, 'sink' | 'answer' | 'refuse' | 'refuseEntries'>
) {
  type State = K['state']
  const { states } = kind
  const recovery = new Recovery(kind, key, deps)
  const unreadable = (error: Error) => { deps.unreadable(error) }
  const reading: Reading<K> = { recovery, unreadable }
  /** Set after a crash: the block up to which the next message must rebuild the state. */
  let rebuildThrough = -1n
  /** The actor is set aside: it folds nothing more. */
  let aside = false
  /** What a checkpoint gets of an actor that is set aside. */
  let asideAs: SavedAs = 'asItIs'
  /** The state could not be written once. The second time the actor is set aside. */
  let unwritten = false

  return function receive (
    state: State | null, message: ActorMessage<K>
  ): State | null | Promise<State | null> {
    if (aside) return passOver(message)
    if (state !== null) return handled(state, message)
    if (deps.unfit) return setAllAside(message, deps.unfit, unsaved(deps.unfit))
    return begin(message).catch((err: Error) => {
      if (!(err instanceof Unusable)) return null // the partition has ended, and with it the wait for the state
      return setAllAside(message, err)
    })
  }

  function setAllAside (message: ActorMessage<K>, error: Error, savedAs: SavedAs = 'asItIs'): null {
    aside = true
    asideAs = savedAs
    deps.keySetAside(error)
    return passOver(message)
  }

  /** Neither the partition nor whoever asks waits for an actor that is set aside. */
  function passOver (message: ActorMessage<K>): null {
    if (isEntries(message)) {
      around.refuseEntries(message.entries)
      message.block.folded()
    } else if (isTakeChanges(message)) message.reply(key, asideAs)
    else around.refuse(message)
    return null
  }

  async function begin (message: ActorMessage<K>): Promise<State | null> {
    const through = rebuildThrough
    const state = await recovery.patiently(() => through < 0n ? recovery.load() : recovery.rebuild(through + 1n, []))
    rebuildThrough = -1n
    return handled(state, message)
  }

  function handled (state: State, message: ActorMessage<K>): State | null | Promise<State | null> {
    try {
      const next = handle(state, message)
      return next instanceof Promise ? next.catch(err => failedAt(state, message, err)) : next
    } catch (err) {
      return failedAt(state, message, err as Error)
    }
  }

  function failedAt (state: State, message: ActorMessage<K>, error: Error): State | null {
    if (deps.ended()) return null
    return error instanceof Unusable ? setAllAside(message, error) : crashed(state, message, error)
  }

  /** A defect of ours. The block counts as folded; the next message rebuilds the state. Questions changed nothing. */
  function crashed (state: State, message: ActorMessage<K>, error: Error): State | null {
    deps.crashed(error)
    if (isEntries(message)) {
      rebuildThrough = message.block.offset
      message.block.folded()
      return null
    }
    if (isTakeChanges(message)) message.reply(key, undefined)
    return state
  }

  function takeChanges (state: State, message: TakeChanges): State | null {
    let changes: StateChanges
    try {
      changes = states.changesOf(state)
      unwritten = false
    } catch (err) {
      if (!unwritten) {
        unwritten = true
        throw err
      }
      return setAllAside(message, err as Error, unsaved(err as Error))
    }
    message.reply(key, changes)
    return state
  }

  function handle (state: State, message: ActorMessage<K>): State | null | Promise<State | null> {
    if (isEntries(message)) return foldEntries(state, message, 0)
    if (isTakeChanges(message)) return takeChanges(state, message)
    const answered = around.answer(message, state, reading)
    return answered ? answered.then(() => state) : state
  }

  function sinkOf (state: State, block: FoldingBlock<K>, history: boolean) {
    return around.sink({ key, recovery, unreadable, state, block, history })
  }

  function foldEntries (state: State, message: Entries<K>, from: number): State | Promise<State> {
    const { block, entries } = message
    if (block.offset > state.offset) { // a replay after a rebalance brings some blocks twice
      const sink = sinkOf(state, block, from < entries.length && deps.isHistory(entries[from]!, block))
      for (let i = from; i < entries.length; i++) {
        let effects: Array<K['effect']>
        try {
          effects = kind.fold(state, entries[i]!)
        } catch (err) {
          sink.flush()
          return retry(message, i, err as Error)
        }
        for (let k = 0; k < effects.length; k++) sink.perform(effects[k]!)
        if (sink.rest) return sink.rest().then(() => foldEntries(state, message, i + 1))
      }
      sink.flush()
      state.offset = block.offset
    }
    block.folded()
    return state
  }

  /** The state may be half changed: it is rebuilt up to the entry that failed, which then gets a second chance. */
  async function retry (message: Entries<K>, index: number, error: Error): Promise<State> {
    const { block, entries } = message
    const entry = entries[index]!
    deps.failed(error, entry)
    const earlier = entries.slice(0, index)
    const rebuilt = () => recovery.patiently(() => recovery.rebuild(block.offset, earlier))
    const state = await rebuilt()
    try {
      const sink = sinkOf(state, block, deps.isHistory(entry, block))
      for (const effect of kind.fold(state, entry)) sink.perform(effect)
      sink.flush()
      if (sink.rest) await sink.rest()
      return foldEntries(state, message, index + 1)
    } catch (err) {
      if (err instanceof Unusable || deps.ended()) throw err
      deps.setAside(entry, block, err as Error)
      return foldEntries(await rebuilt(), message, index + 1)
    }
  }

  /** Replaces the saved state, which is older than the checkpoint will be, by the reason why there is none. */
  function unsaved ({ message }: Error): StateChanges {
    return { head: states.unsavable(message), added: new Map(), changed: new Map(), gone: [] }
  }
}

function isEntries<K extends KindTypes> (message: ActorMessage<K>): message is Entries<K> {
  return message.type === 'entries'
}

function isTakeChanges<K extends KindTypes> (message: ActorMessage<K>): message is TakeChanges {
  return message.type === 'takeChanges'
}
