import type { Block, EventLog } from '../ledger/log.js'
import type { Entry } from '../schemas/facts.js'
import type { UplinkAccepted } from '../schemas/records.js'
import { ledger, uplinks } from '../schemas/streams.js'
import { ActiveUsers, replayUser } from './active-users.js'
import { Checkpointer } from './checkpointer.js'
import { UnconfirmedCloses } from './closes.js'
import { EarlyQuestions } from './early-questions.js'
import { Folding } from './folding.js'
import type { Links, LocalEnds, Question } from './links.js'
import type { PartitionLimits } from './partition-limits.js'
import { Publisher } from './publisher.js'
import { ofPartition, type Snapshots, SnapshotsLost, type StateChanges } from './snapshots.js'
import type { StoppedUsers } from './stopped-users.js'
import type { ActorSystem } from './system.js'
import type { WaitProbe } from './wait-probe.js'
import type { UserActorDeps } from './user/actor.js'
import type { DownlinkOutcome } from './user/effects.js'
import { partsOf } from './user/parts.js'

export interface PartitionDeps {
  readonly log: EventLog
  readonly snapshots: Snapshots
  readonly system: ActorSystem
  readonly links: Links & Pick<LocalEnds, 'owns' | 'disowns'>
  readonly limits: PartitionLimits
  /** How long entries wait for their user actors. */
  readonly folds: WaitProbe
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

/**
 * The user actors of one ledger partition, from its assignment to its revocation: hands each block to the users that it
 * names, and what comes of it to the publisher of the stream `uplinks` and to the checkpointer.
 *
 * Blocks are folded side by side by their users, but both of those follow the log: each goes up to the last block
 * before which everything is folded.
 */
export class Partition {
  readonly #users: ActiveUsers
  readonly #folding = new Folding(() => { this.#blockFolded() })
  readonly #publisher: Publisher
  readonly #checkpointer: Checkpointer
  readonly #closes: UnconfirmedCloses

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
  /** Users who are set aside and recorded: after a rest they are found out again. */
  readonly #aside = new Set<string>()

  #revoked = false
  #ended = false
  #isLost = false

  /**
   * @param stopped of earlier assignments to this process
   * @param lost called once where nothing of this assignment may be saved any more: it is to be assigned again
   */
  static async open (
    partition: number, deps: PartitionDeps, stopped: StoppedUsers, lost: () => void
  ): Promise<Partition> {
    const next = await deps.snapshots.checkpoint(partition)
    const { next: end } = await deps.log.bounds(ledger, partition)
    const published = await deps.log.derivedFrom(uplinks, partition)
    const own = await deps.snapshots.load(partition, ofPartition, () => [])
    const closes = new UnconfirmedCloses(deps.links, own?.head)
    return new Partition(partition, deps, stopped, lost, next, end, published, closes)
  }

  private constructor (
    readonly partition: number, readonly deps: PartitionDeps, readonly stopped: StoppedUsers, readonly lost: () => void,
    readonly next: bigint,
    /** What is appended from here on is new, whatever the clock of the node that dated it. */
    readonly end: bigint, published: bigint, closes: UnconfirmedCloses
  ) {
    this.#closes = closes
    this.#received = this.#folded = next - 1n
    this.#users = new ActiveUsers({
      system: deps.system,
      actorDeps: userId => this.#actorDeps(userId),
      stopped: (userId, error) => { this.#actorStopped(userId, error) },
    })
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
      collect: reply => this.#users.collect(reply),
      own: () => this.#ownChanges(),
      published: offset => this.#publisher.until(offset),
      failed: error => { this.#checkpointFailed(error) },
    }, next)
  }

  /** Takes one block; the next one waits for the promise, if there is one. */
  received (block: Block<Entry>): void | Promise<void> {
    if (this.#isLost) return // the next assignment folds it
    const { items } = block
    this.#closes.received(items)
    this.#received = block.offset
    this.#entriesSinceCheckpoint += items.length
    const { folding, byUser } = this.#folding.add(block)
    for (const [userId, entries] of byUser) this.#users.fold(userId, folding, entries)
    this.deps.folds.given(items.length)
    if (this.#early.size > 0) for (const question of this.#early.take()) this.ask(question)
    if (this.#entriesSinceCheckpoint >= this.deps.limits.checkpointEntries) this.checkpoint()
    if (!this.#hasRoom) return new Promise(resolve => { this.#room = resolve })
  }

  /** A question about what was not received yet waits for that; who asks does not wait for ever. */
  ask (question: Question): void {
    if (this.#revoked || this.#isLost) return
    if (question.type !== 'resync' && question.asOf > this.#received + 1n) {
      this.#early.add(question)
    } else this.#users.ask(question)
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
      foldingSinceMs: this.#folding.sinceMs ?? this.#waiting.values().next().value ?? 0,
      publishingSinceMs: this.#publisher.sinceMs,
      savingSinceMs: this.#checkpointer.sinceMs,
      lastError: this.#lastError,
    }
  }

  #blockFolded (): void {
    const done = this.#folding.takeDone()
    if (done.length === 0) return
    for (const { offset, uplinks } of done) {
      this.#folded = offset
      this.#publisher.add(offset, uplinks)
    }
    this.#lastError = ''
    this.#publisher.publish()
    this.#resumeLog()
    if (this.#folding.isEmpty) this.#idle?.()
  }

  /**
   * Saves what has changed of the users since the last time, and the place that the next owner starts from. Never
   * rejects: what could not be saved is saved by the next one. Nothing of an assignment that is lost is saved: a user
   * whose actor has stopped would not be among those who are asked, and his entries be passed over.
   */
  checkpoint (): Promise<void> {
    if (this.#isLost) return Promise.resolve()
    this.#entriesSinceCheckpoint = 0
    return this.#checkpointer.run().then(() => { this.stopped.saved(this.#checkpointer.saved) })
  }

  /** Tells edges again what to close. */
  repeatCloses (nowMs: number): void {
    this.#closes.repeat(nowMs)
  }

  /** Ends the actors of users that nothing happened to for a while and whose state is saved. */
  passivateIdle (nowMs: number): void {
    this.#users.passivateIdle(nowMs, this.deps.limits.passivateAfterMs, userId => this.#checkpointer.holds(userId))
  }

  /** Holds the log back no longer: what does not fit is for the next owner. */
  leave (): void {
    this.#room?.()
    this.#room = undefined
  }

  /** Waits until all is folded, published and saved, but not for ever, and stops every actor. */
  async revoke (): Promise<void> {
    this.#revoked = true
    if (!this.#isLost) await this.#saveInTime()
    this.#end()
    this.#users.stop()
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
    if (!this.#folding.isEmpty) await new Promise<void>(resolve => { this.#idle = resolve })
    await this.checkpoint()
    await this.checkpoint() // the first one may have been under way already
    return false
  }

  #end (): void {
    this.#ended = true
    this.#publisher.end()
    this.#idle?.()
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
    return this.#folding.entries <= foldingMax && this.#folding.bytes <= foldingBytesMax &&
      this.#publisher.bytes <= unpublishedBytesMax
  }

  #resumeLog (): void {
    if (!this.#room || !this.#hasRoom) return
    const room = this.#room
    this.#room = undefined
    room()
  }

  /** What the store has lost would make known users look new. */
  #checkLost (error: unknown): void {
    if (error instanceof SnapshotsLost) this.#giveUp('snapshots are lost: the partition is folded again', error)
  }

  /**
   * The user's next actor would load what is saved, which is older, and number his uplinks anew. His block would never
   * be folded, and no checkpoint may pass over it.
   */
  #actorStopped (userId: string, error: Error): void {
    this.stopped.stopped(userId, this.#received, error)
    this.#giveUp('user actor stopped: the partition is folded again', error, { userId })
  }

  /** Nothing of this assignment is saved any more; the next one folds everything again from what the store has then. */
  #giveUp (what: string, error: Error, fields: object = {}): void {
    if (this.#isLost) return
    this.#isLost = true
    this.#failed(what, error, fields)
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

  #actorDeps (userId: string): UserActorDeps {
    const { log, snapshots, limits, settled, setAside } = this.deps
    const { partition } = this
    return {
      links: this.#closes,
      settled,
      resumeBytesMax: limits.resumeBytesMax,
      unfit: this.stopped.reason(userId),
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
    }
  }

  async #read<T> (reading: Promise<T>): Promise<T> {
    try {
      return await reading
    } catch (err) {
      this.#checkLost(err)
      throw err
    }
  }
}
