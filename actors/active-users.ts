import type { EventLog } from '../ledger/log.js'
import type { Entry } from '../schemas/facts.js'
import { ledger } from '../schemas/streams.js'
import type { Question } from './links.js'
import type { Actor, ActorSystem } from './system.js'
import { type FoldingBlock, type SavedAs, userActor, type UserActorDeps, type UserMessage } from './user/actor.js'
import type { UserState } from './user/state.js'

export interface ActiveUsersDeps {
  readonly system: ActorSystem
  /** Of one user's actor. */
  actorDeps (userId: string): UserActorDeps
  /** An actor has stopped with the state that it had: whoever is next would load an older one. */
  stopped (userId: string, error: Error): void
}

/** A user actor while it is active. */
interface ActiveUser {
  readonly actor: Actor<UserMessage>
  /** Messages in its mailbox or under way. */
  pending: number
  /** Changed since the checkpointer asked for his changes. */
  dirty: boolean
  /** Answers the checkpointer, while he has not. */
  give: ((changes: SavedAs) => void) | undefined
  touchedAtMs: number
}

/** The users of one partition that have an actor just now: from the first message on until nothing happens to them. */
export class ActiveUsers {
  readonly #users = new Map<string, ActiveUser>()

  constructor (readonly deps: ActiveUsersDeps) {}

  get size (): number { return this.#users.size }

  fold (userId: string, block: FoldingBlock, entries: readonly Entry[]): void {
    const user = this.#active(userId)
    user.dirty = true
    this.#tell(user, { type: 'entries', block, entries })
  }

  ask (question: Question): void {
    this.#tell(this.#active(question.userId), question)
  }

  /**
   * Asks those for their changes that have some since the last call.
   *
   * @param reply called once for each of them
   * @returns how many there are
   */
  collect (reply: (userId: string, changes: SavedAs) => void): number {
    let asked = 0
    for (const [userId, user] of this.#users) {
      if (!user.dirty) continue
      asked++
      user.dirty = false
      user.give = changes => {
        user.give = undefined
        if (changes === undefined) user.dirty = true
        reply(userId, changes)
      }
      this.#tell(user, { type: 'takeChanges', reply: (_userId, changes) => { user.give?.(changes) } })
    }
    return asked
  }

  /**
   * Ends the actors of users that nothing happened to for `idleMs`, and whose state is saved.
   *
   * @param isUnsaved what an actor has given and is not stored yet
   */
  passivateIdle (nowMs: number, idleMs: number, isUnsaved: (userId: string) => boolean): void {
    for (const [userId, user] of this.#users) {
      if (user.dirty || user.pending > 0 || isUnsaved(userId)) continue
      if (nowMs - user.touchedAtMs < idleMs) continue
      user.actor.stop()
      this.#users.delete(userId)
    }
  }

  stop (): void {
    for (const { actor } of this.#users.values()) actor.stop()
    this.#users.clear()
  }

  #tell (user: ActiveUser, message: UserMessage): void {
    user.pending++
    user.actor.tell(message)
  }

  #active (userId: string): ActiveUser {
    let user = this.#users.get(userId)
    if (!user) {
      user = { actor: this.#spawn(userId), pending: 0, dirty: false, give: undefined, touchedAtMs: 0 }
      this.#users.set(userId, user)
    }
    user.touchedAtMs = Date.now()
    return user
  }

  #spawn (userId: string): Actor<UserMessage> {
    const { system, actorDeps, stopped } = this.deps
    const receive = userActor(userId, actorDeps(userId))
    const done = () => { this.#done(userId) }
    const counted = (state: UserState | null, message: UserMessage) => {
      const next = receive(state, message)
      if (next instanceof Promise) return next.finally(done)
      done()
      return next
    }
    const crashed = (_state: UserState | null, _message: UserMessage, error: Error) => {
      const user = this.#users.get(userId)
      this.#users.delete(userId)
      user?.give?.(undefined) // what its mailbox held is dropped
      stopped(userId, error)
    }
    return system.spawn<UserState | null, UserMessage>({ receive: counted, crashed }, null)
  }

  /** A user has taken one message out of its mailbox and is done with it. */
  #done (userId: string): void {
    const user = this.#users.get(userId)
    if (user) user.pending--
  }
}

/** The user's own entries in blocks above `after` and below `before`, in order. */
export async function * replayUser (log: EventLog, partition: number, userId: string, after: bigint, before: bigint) {
  for await (const block of log.read(ledger, partition, { from: after + 1n, to: before, key: userId })) {
    for (const entry of block.items) {
      if (entry.userId === userId) yield { offset: block.offset, entry }
    }
  }
}
