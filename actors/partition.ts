import type { Block, EventLog } from '../ledger/log.js'
import type { Entry } from '../schemas/facts.js'
import type { UplinkAccepted } from '../schemas/records.js'
import { ledger, uplinks } from '../schemas/streams.js'
import { Checkpointer } from './checkpointer.js'
import { UnconfirmedCloses } from './closes.js'
import { EarlyQuestions } from './early-questions.js'
import type { Links, LocalEnds, Question } from './links.js'
import { Publisher } from './publisher.js'
import { ofPartition, type Snapshots, SnapshotsLost, type StateChanges } from './snapshots.js'
import type { Actor, ActorSystem } from './system.js'
import { type FoldingBlock, type SavedAs, userActor, type UserMessage } from './user/actor.js'
import type { DownlinkOutcome } from './user/effects.js'
import { partsOf } from './user/parts.js'
import type { UserState } from './user/state.js'

export interface PartitionDeps {
  readonly log: EventLog
  readonly snapshots: Snapshots
  readonly system: ActorSystem
  readonly links: Links & Pick<LocalEnds, 'owns' | 'disowns'>
  readonly limits: PartitionLimits
  settled (outcome: DownlinkOutcome): void
  /** An entry failed twice and was left out; whoever is told records it. */
  setAside (entry: Entry, partition: number, offset: bigint, error: Error): void
  /** Nothing of this user is folded any more, and nobody waits for him: whoever is told records it. */
  userSetAside (userId: string, partition: number, offset: bigint, error: Error): void
  /** The stream `uplinks` will never take this one; whoever is told records it. */
  uplinkSetAside (uplink: UplinkAccepted, partition: number, error: Error): void
  /** Something went wrong that heals by itself or by a restart. */
  failed (what: string, error: Error, fields: object): void
}

export interface PartitionLimits {
  /** Entries folding at once, and their bytes in memory; past either the log waits. */
  readonly foldingMax: number
  readonly foldingBytesMax: number
  /** Bytes of uplinks that are accepted and not in their stream; past it the log waits. */
  readonly unpublishedBytesMax: number
  /** Entries after which a checkpoint is due before its second is over. */
  readonly checkpointEntries: number
  /** A user that nothing happened to for this long is passivated. */
  readonly passivateAfterMs: number
  readonly resumeBytesMax: number
  /** Of what was there when the partition came, what is older is history: see `UserActorDeps.isHistory`. */
  readonly historyAgeMs: number
  /** How long giving the partition back may take. What is not saved by then, the next owner folds again. */
  readonly revokeMs: number
}

export const partitionLimits: PartitionLimits = {
  foldingMax: 20_000,
  foldingBytesMax: 4 << 20,
  unpublishedBytesMax: 4 << 20,
  checkpointEntries: 5_000,
  passivateAfterMs: 2_000,
  resumeBytesMax: 128 * 1024,
  historyAgeMs: 60_000,
  revokeMs: 5_000,
}

/** How far a partition is, for those who watch it. Positions are the first offsets that are not done yet. */
export interface PartitionProgress {
  readonly partition: number
  /** Handed to the users, folded by all of them, in `uplinks`, and in the saved states. */
  readonly received: bigint
  readonly folded: bigint
  readonly published: bigint
  readonly saved: bigint
  /** Since when the next of each has been waited for, ms since 1970; 0 where there is nothing to do. */
  readonly foldingSinceMs: number
  readonly publishingSinceMs: number
  readonly savingSinceMs: number
  /** What went wrong last, since something of this moved; empty for nothing. */
  readonly lastError: string
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

/**
 * The user actors of one ledger partition, from its assignment to its revocation: hands each block to the users that it
 * names, and what comes of it to the publisher of the stream `uplinks` and to the checkpointer.
 *
 * Blocks are folded side by side by their users, but both of those follow the log: each goes up to the last block
 * before which everything is folded.
 */
export class Partition {
  readonly #users = new Map<string, ActiveUser>()
  readonly #publisher: Publisher
  readonly #checkpointer: Checkpointer
  readonly #closes: UnconfirmedCloses

  /** Blocks that are not folded by all of their users. */
  readonly #folding: FoldingUsers[] = []
  #foldingEntries = 0
  #foldingBytes = 0
  /** Last block handed to the users, and last one up to which all are folded. */
  #received: bigint
  #folded: bigint
  #entriesSinceCheckpoint = 0

  /** The log waits for room. */
  #room: (() => void) | undefined
  /** Whoever gives the partition back waits until nothing is folding. */
  #idle: (() => void) | undefined

  /** Users whose state can't be had just now, the one that has waited for longest first, and since when. */
  readonly #waiting = new Map<string, number>()
  #lastError = ''
  /** Questions about blocks that were not received yet. */
  readonly #early = new EarlyQuestions()
  /** Users whose actor stopped with what he had: a checkpoint would pass over it. */
  readonly #stopped = new Set<string>()
  /** Users who are set aside and recorded: after a rest they are found out again. */
  readonly #aside = new Set<string>()

  #revoked = false
  #ended = false
  #lost = false

  /** @param lost called once where the store of snapshots has gone back: the partition must be assigned again */
  static async open (partition: number, deps: PartitionDeps, lost: () => void): Promise<Partition> {
    const next = await deps.snapshots.checkpoint(partition)
    const { next: end } = await deps.log.bounds(ledger, partition)
    const published = await deps.log.derivedFrom(uplinks, partition)
    const own = await deps.snapshots.load(partition, ofPartition, () => [])
    return new Partition(partition, deps, lost, next, end, published, new UnconfirmedCloses(deps.links, own?.head))
  }

  private constructor (
    readonly partition: number, readonly deps: PartitionDeps, readonly lost: () => void, readonly next: bigint,
    /** What is appended from here on is new, whatever the clock of the node that dated it. */
    readonly end: bigint, published: bigint, closes: UnconfirmedCloses
  ) {
    this.#closes = closes
    this.#received = this.#folded = next - 1n
    this.#publisher = new Publisher({
      log: deps.log,
      partition,
      setAside: (uplink, error) => { deps.uplinkSetAside(uplink, partition, error) },
      // The condition `uplinks` tells of it.
      failed: reason => { this.#lastError = `uplinks can not be published: ${reason}` },
      progressed: () => { this.#resumeLog() },
    }, this.#folded, published)
    this.#checkpointer = new Checkpointer({
      snapshots: deps.snapshots,
      partition,
      next: () => this.#received + 1n,
      collect: reply => this.#collect(reply),
      own: () => this.#ownChanges(),
      published: offset => this.#publisher.until(offset),
      failed: error => { this.#checkpointFailed(error) },
    }, next)
  }

  /** Takes one block; the next one waits for the promise, if there is one. */
  received (block: Block<Entry>): void | Promise<void> {
    const { items } = block
    this.#closes.received(items)
    const folding = new FoldingUsers(this, block)
    this.#received = block.offset
    this.#folding.push(folding)
    this.#foldingEntries += items.length
    this.#foldingBytes += folding.bytes
    this.#entriesSinceCheckpoint += items.length
    const byUser = groupByUser(items)
    folding.users = byUser.size
    for (const [userId, entries] of byUser) {
      const user = this.#active(userId)
      user.dirty = true
      this.#tell(user, { type: 'entries', block: folding, entries })
    }
    if (this.#early.size > 0) for (const question of this.#early.take()) this.ask(question)
    if (this.#entriesSinceCheckpoint >= this.deps.limits.checkpointEntries) this.checkpoint()
    if (!this.#hasRoom) return new Promise(resolve => { this.#room = resolve })
  }

  /** A question about what was not received yet waits for that; who asks does not wait for ever. */
  ask (question: Question): void {
    if (this.#revoked) return
    if (question.type === 'askRequest' && question.asOf > this.#received + 1n) {
      this.#early.add(question)
    } else this.#tell(this.#active(question.userId), question)
  }

  /** Users with an actor just now. */
  get activeUsers (): number { return this.#users.size }

  get progress (): PartitionProgress {
    const { partition } = this
    return {
      partition,
      received: this.#received + 1n,
      folded: this.#folded + 1n,
      published: this.#publisher.published + 1n,
      saved: this.#checkpointer.saved,
      foldingSinceMs: this.#folding[0]?.sinceMs ?? this.#waiting.values().next().value ?? 0,
      publishingSinceMs: this.#publisher.sinceMs,
      savingSinceMs: this.#checkpointer.sinceMs,
      lastError: this.#lastError,
    }
  }

  /** Called when a block's last user has folded it. */
  blockFolded (): void {
    const folding = this.#folding
    let done = 0
    while (done < folding.length && folding[done]!.users === 0) {
      const block = folding[done++]!
      this.#folded = block.offset
      this.#foldingEntries -= block.items.length
      this.#foldingBytes -= block.bytes
      this.#publisher.add(block.offset, block.uplinks)
    }
    if (done === 0) return
    this.#lastError = ''
    folding.splice(0, done)
    this.#publisher.publish()
    this.#resumeLog()
    if (folding.length === 0) this.#idle?.()
  }

  /**
   * Saves what has changed of the users since the last time, and the place that the next owner starts from. Never
   * rejects: what could not be saved is saved by the next one.
   */
  checkpoint (): Promise<void> {
    this.#entriesSinceCheckpoint = 0
    return this.#checkpointer.run()
  }

  /** Tells edges again what to close. */
  repeatCloses (nowMs: number): void {
    this.#closes.repeat(nowMs)
  }

  /** Ends the actors of users that nothing happened to for a while and whose state is saved. */
  passivateIdle (nowMs: number): void {
    for (const [userId, user] of this.#users) {
      if (user.dirty || user.pending > 0 || this.#checkpointer.holds(userId)) continue
      if (nowMs - user.touchedAtMs < this.deps.limits.passivateAfterMs) continue
      user.actor.stop()
      this.#users.delete(userId)
    }
  }

  /** Holds the log back no longer: what does not fit is for the next owner. */
  leave (): void {
    this.#room?.()
    this.#room = undefined
  }

  /** Waits until all is folded, published and saved, but not for ever, and stops every actor. */
  async revoke (): Promise<void> {
    this.#revoked = true
    if (!this.#lost) await this.#saveInTime()
    this.#end()
    for (const { actor } of this.#users.values()) actor.stop()
    this.#users.clear()
  }

  async #saveInTime (): Promise<void> {
    const { revokeMs } = this.deps.limits
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<boolean>(resolve => { timer = setTimeout(resolve, revokeMs, true) })
    const isLate = await Promise.race([this.#saveAll(), late])
    clearTimeout(timer)
    if (!isLate && this.#checkpointer.sinceMs === 0) return
    const reason = isLate ? `not saved in ${revokeMs} ms` : this.#lastError
    this.deps.failed('partition given back unsaved', new Error(reason), { partition: this.partition })
  }

  async #saveAll (): Promise<false> {
    if (this.#folding.length > 0) await new Promise<void>(resolve => { this.#idle = resolve })
    await this.checkpoint()
    await this.checkpoint() // the first one may have been under way already
    return false
  }

  #end (): void {
    this.#ended = true
    this.#publisher.end()
    this.#idle?.()
  }

  #collect (reply: (userId: string, changes: SavedAs) => void): number {
    let asked = 0
    for (const userId of this.#stopped) reply(userId, undefined)
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
    return asked + this.#stopped.size
  }

  #ownChanges (): ReadonlyMap<string, StateChanges> {
    const head = this.#closes.toSave()
    if (!head) return new Map()
    return new Map([[ofPartition, { head, added: new Map(), changed: new Map(), gone: [] }]])
  }

  /** The condition `snapshots` tells of it, where it goes on. */
  #checkpointFailed (error: Error): void {
    this.#checkLost(error)
    this.#lastError = `states can not be saved: ${error.message}`
  }

  get #hasRoom (): boolean {
    const { foldingMax, foldingBytesMax, unpublishedBytesMax } = this.deps.limits
    return this.#foldingEntries <= foldingMax && this.#foldingBytes <= foldingBytesMax &&
      this.#publisher.bytes <= unpublishedBytesMax
  }

  #resumeLog (): void {
    if (!this.#room || !this.#hasRoom) return
    const room = this.#room
    this.#room = undefined
    room()
  }

  /**
   * What the store has lost would make known users look new. Nothing of this assignment is saved any more; the next one
   * folds everything again from what the store has then.
   */
  #checkLost (error: unknown): void {
    if (!(error instanceof SnapshotsLost) || this.#lost) return
    this.#lost = true
    this.deps.failed('snapshots are lost: the partition is folded again', error, { partition: this.partition })
    this.#end()
    this.leave() // the block under way waits for nothing any more
    this.lost()
  }

  /**
   * A store that is away makes all users wait, each of whom tries again: a line for each attempt would bury the log.
   * The condition `users` tells of it once, with this reason.
   */
  #waits (userId: string, error: Error): void {
    this.#lastError = `states of users can not be loaded: ${error.message}`
    if (!this.#waiting.has(userId)) this.#waiting.set(userId, Date.now())
  }

  #failed (what: string, error: Error, fields: object = {}): void {
    this.#lastError = `${what}: ${error.message}`
    this.deps.failed(what, error, { partition: this.partition, ...fields })
  }

  /** Once for each user, however often he rests and is found out again. */
  #setUserAside (userId: string, error: Error): void {
    if (this.#aside.has(userId)) return
    this.#aside.add(userId)
    this.deps.userSetAside(userId, this.partition, this.#folded + 1n, error)
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
    const { log, snapshots, system, limits, settled, setAside } = this.deps
    const { partition } = this
    const receive = userActor(userId, {
      links: this.#closes,
      settled,
      resumeBytesMax: limits.resumeBytesMax,
      isHistory: (entry, block) => block.offset < this.end && Date.now() - entry.atMs > limits.historyAgeMs,
      load: userId => this.#read(snapshots.load(partition, userId, partsOf)),
      parts: (userId, ids) => this.#read(snapshots.parts(partition, userId, ids)),
      replay: (userId, after, before) => replayUser(log, partition, userId, after, before),
      setAside: (entry, block, error) => setAside(entry, partition, block.offset, error),
      userSetAside: error => { this.#setUserAside(userId, error) },
      failed: (error, entry) => { this.#failed('entry failed', error, { userId, fact: entry.fact.type }) },
      crashed: error => { this.#failed('user actor crashed', error, { userId }) },
      unreadable: error => { this.#failed('payloads of a user can not be read', error, { userId }) },
      waits: error => { this.#waits(userId, error) },
      waited: () => { this.#waiting.delete(userId) },
      ended: () => this.#ended,
    })
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
      this.#stopped.add(userId)
      user?.give?.(undefined) // what its mailbox held is dropped
      this.#failed('user actor stopped', error, { userId })
    }
    return system.spawn<UserState | null, UserMessage>({ receive: counted, crashed }, null)
  }

  async #read<T> (reading: Promise<T>): Promise<T> {
    try {
      return await reading
    } catch (err) {
      this.#checkLost(err)
      throw err
    }
  }

  /** A user has taken one message out of its mailbox and is done with it. */
  #done (userId: string): void {
    const user = this.#users.get(userId)
    if (user) user.pending--
  }
}

/** A block on its way through the user actors. */
class FoldingUsers implements FoldingBlock {
  readonly uplinks: UplinkAccepted[] = []
  readonly offset: bigint
  readonly items: readonly Entry[]
  /** Of its entries in memory. */
  readonly bytes: number
  /** Users that have yet to fold it. */
  users = 0
  readonly sinceMs = Date.now()

  constructor (readonly partition: Partition, { offset, items }: Block<Entry>) {
    this.offset = offset
    this.items = items
    let bytes = 0
    for (let i = 0; i < items.length; i++) bytes += ledger.bytesOf(items[i]!)
    this.bytes = bytes
  }

  folded (): void {
    if (--this.users === 0) this.partition.blockFolded()
  }
}

function groupByUser (items: readonly Entry[]): Map<string, Entry[]> {
  const byUser = new Map<string, Entry[]>()
  let lastUser = ''
  let entries: Entry[] | undefined
  for (let i = 0; i < items.length; i++) {
    const entry = items[i]!
    if (entry.userId !== lastUser || !entries) {
      lastUser = entry.userId
      entries = byUser.get(lastUser)
      if (!entries) byUser.set(lastUser, entries = [])
    }
    entries.push(entry)
  }
  return byUser
}

async function * replayUser (log: EventLog, partition: number, userId: string, after: bigint, before: bigint) {
  for await (const block of log.read(ledger, partition, { from: after + 1n, to: before, key: userId })) {
    for (const entry of block.items) {
      if (entry.userId === userId) yield { offset: block.offset, entry }
    }
  }
}
