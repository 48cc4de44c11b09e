import type { EventLog } from '../ledger/log.js'
import type { Stream } from '../schemas/streams.js'
import { type ActorDeps, type ActorMessage, foldingActor, type SavedAs } from './folding-actor.js'
import type { FoldingBlock } from './folding.js'
import type { Kind, KindTypes, Surroundings } from './kind.js'
import type { SlicedWork } from './sliced-work.js'
import type { Actor, ActorSystem } from './system.js'

export interface ActiveActorsDeps<K extends KindTypes> {
  readonly system: ActorSystem
  readonly kind: Kind<K>
  readonly around: Surroundings<K>
  /** Spreads the work of a checkpoint over turns of the event loop. */
  readonly checkpoints: SlicedWork
  /** Of one actor. */
  actorDeps (key: string): ActorDeps<K>
  /** An actor has stopped and its state is lost: the next actor of the key would load an older one. */
  stopped (key: string, error: Error): void
}

/** An actor while it is active. */
interface ActiveActor<K extends KindTypes> {
  readonly key: string
  readonly actor: Actor<ActorMessage<K>>
  /** Messages in its mailbox or under way. */
  pending: number
  /** Changed since the checkpointer asked for its changes. */
  dirty: boolean
  /** Answers the checkpointer; undefined once it has. */
  give: ((changes: SavedAs) => void) | undefined
  /** It has yet to be asked for its changes. It is asked before it gets its next entries. */
  owes: boolean
  touchedAtMs: number
}

/**
 * The users or rooms of one partition that have an actor: from their first message until nothing has happened to them
 * for a while.
 */
export class ActiveActors<K extends KindTypes> {
  readonly #actors = new Map<string, ActiveActor<K>>()

  constructor (readonly deps: ActiveActorsDeps<K>) {}

  get size (): number { return this.#actors.size }

  fold (key: string, block: FoldingBlock<K>, entries: ReadonlyArray<K['entry']>): void {
    const active = this.#active(key)
    if (active.owes) this.#askChanges(active)
    active.dirty = true
    this.#tell(active, { type: 'entries', block, entries })
  }

  ask (question: K['question']): void {
    this.#tell(this.#active(this.deps.kind.keyOf(question)), question)
  }

  /**
   * Asks every actor that has changed since the last call for its changes, as of now. Most are asked in later turns of
   * the event loop, for each encodes what it gives: 3,000 users at once would keep all others waiting for 50 ms.
   *
   * @param reply called once for each of them
   * @returns how many there are
   */
  collect (reply: (key: string, changes: SavedAs) => void): number {
    const owing: Array<ActiveActor<K>> = []
    for (const active of this.#actors.values()) {
      if (!active.dirty) continue
      owing.push(active)
      active.dirty = false
      active.owes = true
      active.give = changes => {
        active.give = undefined
        if (changes === undefined) active.dirty = true
        reply(active.key, changes)
      }
    }
    this.deps.checkpoints.add(owing.length, this.#askEach(owing))
    return owing.length
  }

  /**
   * Ends the actors that nothing happened to for `idleMs`, and whose state is saved.
   *
   * @param isUnsaved whether something that the actor gave is not stored yet
   */
  passivateIdle (nowMs: number, idleMs: number, isUnsaved: (key: string) => boolean): void {
    for (const [key, active] of this.#actors) {
      if (active.dirty || active.owes || active.pending > 0 || isUnsaved(key)) continue
      if (nowMs - active.touchedAtMs < idleMs) continue
      active.actor.stop()
      this.#actors.delete(key)
    }
  }

  stop (): void {
    for (const { actor } of this.#actors.values()) actor.stop()
    this.#actors.clear()
  }

  * #askEach (owing: ReadonlyArray<ActiveActor<K>>): Iterator<void> {
    for (const active of owing) {
      if (!active.owes) continue
      this.#askChanges(active)
      yield
    }
  }

  #askChanges (active: ActiveActor<K>): void {
    active.owes = false
    this.#tell(active, { type: 'takeChanges', reply: (_key, changes) => { active.give?.(changes) } })
  }

  #tell (active: ActiveActor<K>, message: ActorMessage<K>): void {
    active.pending++
    active.actor.tell(message)
  }

  #active (key: string): ActiveActor<K> {
    let active = this.#actors.get(key)
    if (!active) {
      active = { key, actor: this.#spawn(key), pending: 0, dirty: false, give: undefined, owes: false, touchedAtMs: 0 }
      this.#actors.set(key, active)
    }
    active.touchedAtMs = Date.now()
    return active
  }

  #spawn (key: string): Actor<ActorMessage<K>> {
    const { system, kind, around, actorDeps, stopped } = this.deps
    const receive = foldingActor(kind, key, actorDeps(key), around)
    const done = () => { this.#done(key) }
    const counted = (state: K['state'] | null, message: ActorMessage<K>) => {
      const next = receive(state, message)
      if (next instanceof Promise) return next.finally(done)
      done()
      return next
    }
    const crashed = (_state: K['state'] | null, _message: ActorMessage<K>, error: Error) => {
      const active = this.#actors.get(key)
      this.#actors.delete(key)
      active?.give?.(undefined) // what its mailbox held is dropped
      stopped(key, error)
    }
    return system.spawn<K['state'] | null, ActorMessage<K>>({ receive: counted, crashed }, null)
  }

  /** An actor has taken one message out of its mailbox and is done with it. */
  #done (key: string): void {
    const active = this.#actors.get(key)
    if (active) active.pending--
  }
}

/** The entries of one key in blocks above `after` and below `before`, in order. */
export async function * replayOf<E> (
  log: EventLog, stream: Stream<E>, partition: number, key: string, after: bigint, before: bigint
): AsyncGenerator<{ offset: bigint, entry: E }> {
  for await (const block of log.read(stream, partition, { from: after + 1n, to: before, key })) {
    for (const entry of block.items) {
      if (stream.key(entry) === key) yield { offset: block.offset, entry }
    }
  }
}
