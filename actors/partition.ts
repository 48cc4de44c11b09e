import type { Block, EventLog } from '../ledger/log.js'
import type { RecordStream } from '../schemas/streams.js'
import { ActiveActors, replayOf } from './active-actors.js'
import { Checkpointer } from './checkpointer.js'
import { EarlyQuestions } from './early-questions.js'
import type { ActorDeps } from './folding-actor.js'
import { Folding } from './folding.js'
import type { Kind, KindTypes, Surroundings } from './kind.js'
import type { Links, LocalEnds } from './links.js'
import type { PartitionLimits } from './partition-limits.js'
import { derivedFromOf, Publishers } from './publishers.js'
import type { SlicedWork } from './sliced-work.js'
import { ofPartition, type Snapshots, SnapshotsLost, type StateChanges } from './snapshots.js'
import type { StoppedActors } from './stopped-actors.js'
import type { ActorSystem } from './system.js'
import type { WaitProbe } from './wait-probe.js'

export interface PartitionDeps<K extends KindTypes> {
  readonly kind: Kind<K>
  readonly log: EventLog
  /** Of this kind's states. */
  readonly snapshots: Snapshots
  readonly system: ActorSystem
  readonly links: Links & Pick<LocalEnds, 'owns' | 'disowns'>
  readonly limits: PartitionLimits
  /** Of all partitions of the node: what their checkpoints take of a turn of the event loop. */
  readonly checkpoints: SlicedWork
  /** How long entries wait for their actors; undefined where nobody asks. */
  readonly folds: WaitProbe | undefined
  /** An entry failed twice and was left out; whoever is told records it. */
  setAside (entry: K['entry'], partition: number, offset: bigint, error: Error): void
  /** Nothing of this key is folded any more, and nobody waits for it: whoever is told records it. */
  keySetAside (key: string, partition: number, offset: bigint, error: Error): void
  /** A derived stream will never take this one; whoever is told records it. */
  derivedSetAside (
    item: K['derived'], partition: number, error: Error, stream: RecordStream<K['derived']>
  ): void
  /** Something went wrong that heals by itself or by a restart. */
  failed (what: string, error: Error, fields: object): void
}

/** How far a partition is, for those who watch it. Positions are the first offsets that are not done yet. */
export interface PartitionProgress {
  readonly partition: number
  /** Handed to the actors, folded by all of them, in the derived streams and elsewhere, and in the saved states. */
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
 * The actors of one partition, users of one of the ledger or rooms of one of `rooms`, from its assignment to its
 * revocation: hands each block to the actors that it names, and what comes of it to the publishers of the derived
 * streams and to the checkpointer.
 *
 * Blocks are folded side by side by their actors, but both of those follow the log: each goes up to the last block
 * before which everything is folded.
 */
export class Partition<K extends KindTypes> {
  readonly #actors: ActiveActors<K>
  readonly #folding: Folding<K>
  readonly #publishers: Publishers<K>
  readonly #checkpointer: Checkpointer
  readonly #around: Surroundings<K>

  /** Last block handed to the actors, and last one up to which all are folded. */
  #received: bigint
  #folded: bigint
  #entriesSinceCheckpoint = 0

  /** The log waits for room. */
  #room: (() => void) | undefined
  /** Whoever gives the partition back waits until nothing is folding. */
  #idle: (() => void) | undefined

  /** Keys whose state can't be loaded now, and since when, ms since 1970. The oldest comes first. */
  readonly #waiting = new Map<string, number>()
  #lastError = ''
  /** Questions about blocks that were not received yet. */
  readonly #early = new EarlyQuestions<K['question']>()
  /** Keys that are set aside and recorded. An actor that comes back meets the same fault: it is recorded once. */
  readonly #aside = new Set<string>()

  #revoked = false
  #ended = false
  #isLost = false

  /**
   * @param stopped of earlier assignments to this process
   * @param lost called once where nothing of this assignment may be saved any more: it is to be assigned again
   */
  static async open<K extends KindTypes> (
    partition: number, deps: PartitionDeps<K>, stopped: StoppedActors, lost: () => void
  ): Promise<Partition<K>> {
    const { log, snapshots, kind } = deps
    const next = await snapshots.checkpoint(partition)
    const { next: end } = await log.bounds(kind.stream, partition)
    const published = await derivedFromOf(log, kind.derived, partition)
    const own = await snapshots.load(partition, ofPartition, () => [])
    return new Partition(partition, deps, stopped, lost, next, end, published, own?.head)
  }

  private constructor (
    readonly partition: number, readonly deps: PartitionDeps<K>, readonly stopped: StoppedActors,
    readonly lost: () => void, readonly next: bigint,
    /** Entries from this offset on are newer than the assignment, whatever their `atMs` says. */
    readonly end: bigint, published: readonly bigint[], saved: Buffer | undefined
  ) {
    const { kind, log, links, system, snapshots } = deps
    this.#received = this.#folded = next - 1n
    this.#folding = new Folding(kind.stream, () => { this.#blockFolded() })
    this.#around = kind.open({
      partition,
      links,
      saved,
      folded: this.#folded,
      ask: question => { this.ask(question) },
      progressed: () => { this.#resumeLog() },
      failing: reason => { this.#lastError = reason },
    })
    this.#actors = new ActiveActors({
      system,
      kind,
      around: this.#around,
      checkpoints: deps.checkpoints,
      actorDeps: key => this.#actorDeps(key),
      stopped: (key, error) => { this.#actorStopped(key, error) },
    })
    this.#publishers = new Publishers({
      log,
      partition,
      setAside: (stream, item, error) => { deps.derivedSetAside(item, partition, error, stream) },
      // The condition of that stream tells of it.
      failed: ({ name }, reason) => { this.#lastError = `${name} can not be published: ${reason}` },
      progressed: () => { this.#resumeLog() },
    }, kind.derived, this.#folded, published)
    this.#checkpointer = new Checkpointer({
      snapshots,
      partition,
      next: () => this.#received + 1n,
      collect: reply => this.#actors.collect(reply),
      own: () => this.#ownChanges(),
      published: async offset => await this.#publishers.until(offset) && await this.#around.handedOn(offset),
      failed: error => { this.#checkpointFailed(error) },
    }, next)
  }

  /** Takes one block; the next one waits for the promise, if there is one. */
  received (block: Block<K['entry']>): void | Promise<void> {
    if (this.#isLost) return // the next assignment folds it
    const { items } = block
    this.#around.received(block)
    this.#received = block.offset
    this.#entriesSinceCheckpoint += items.length
    const { folding, byKey } = this.#folding.add(block)
    for (const [key, entries] of byKey) this.#actors.fold(key, folding, entries)
    this.deps.folds?.given(items.length)
    if (this.#early.size > 0) for (const question of this.#early.take()) this.ask(question)
    if (this.#entriesSinceCheckpoint >= this.deps.limits.checkpointEntries) this.checkpoint()
    if (!this.#hasRoom) return new Promise(resolve => { this.#room = resolve })
  }

  /** A question about what was not received yet waits for that; who asks does not wait for ever. */
  ask (question: K['question']): void {
    if (this.#revoked || this.#isLost) return
    if (question.asOf !== undefined && question.asOf > this.#received + 1n) this.#early.add(question)
    else this.#actors.ask(question)
  }

  /** Users or rooms with an actor just now. */
  get active (): number { return this.#actors.size }

  get progress (): PartitionProgress {
    const { partition } = this
    return {
      partition,
      received: this.#received + 1n,
      folded: this.#folded + 1n,
      published: this.#publishers.published + 1n,
      saved: this.#checkpointer.saved,
      foldingSinceMs: this.#folding.sinceMs ?? this.#waiting.values().next().value ?? 0,
      publishingSinceMs: this.#publishers.sinceMs || this.#around.sinceMs,
      savingSinceMs: this.#checkpointer.sinceMs,
      lastError: this.#lastError,
    }
  }

  #blockFolded (): void {
    const done = this.#folding.takeDone()
    if (done.length === 0) return
    for (let i = 0; i < done.length; i++) {
      const block = done[i]!
      this.#folded = block.offset
      this.#publishers.add(block)
      this.#around.folded(block)
    }
    this.#lastError = ''
    this.#publishers.publish()
    this.#resumeLog()
    if (this.#folding.isEmpty) this.#idle?.()
  }

  /**
   * Saves what has changed of the actors since the last time, and the place that the next owner starts from. Never
   * rejects: the next checkpoint saves what this one could not. An assignment that is lost saves nothing more: an actor
   * that has stopped gives no state, so a checkpoint would pass over its entries.
   */
  checkpoint (): Promise<void> {
    if (this.#isLost) return Promise.resolve()
    this.#entriesSinceCheckpoint = 0
    return this.#checkpointer.run().then(() => { this.stopped.saved(this.#checkpointer.saved) })
  }

  /** Called once a second, for what is due by then. */
  sweep (nowMs: number): void {
    this.#around.sweep(nowMs)
  }

  /** Ends the actors that nothing happened to for a while and whose state is saved. */
  passivateIdle (nowMs: number): void {
    this.#actors.passivateIdle(nowMs, this.deps.limits.passivateAfterMs, key => this.#checkpointer.holds(key))
  }

  /** Lets the log go on. The next owner folds what this one has no room for. */
  leave (): void {
    this.#room?.()
    this.#room = undefined
  }

  /** Waits until all is folded, published and saved, but not for ever, and stops every actor. */
  async revoke (): Promise<void> {
    this.#revoked = true
    if (!this.#isLost) await this.#saveInTime()
    this.#end()
    this.#actors.stop()
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
    this.#publishers.end()
    this.#around.end()
    this.#idle?.()
  }

  #ownChanges (): ReadonlyMap<string, StateChanges> {
    const head = this.#around.toSave()
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
      this.#publishers.bytes + this.#around.bytes <= unpublishedBytesMax
  }

  #resumeLog (): void {
    if (!this.#room || !this.#hasRoom) return
    const room = this.#room
    this.#room = undefined
    room()
  }

  /** Gives the assignment up where the store has lost states: users who are known would look new. */
  #checkLost (error: unknown): void {
    if (error instanceof SnapshotsLost) this.#giveUp('snapshots are lost: the partition is folded again', error)
  }

  /**
   * Gives the assignment up. Another actor of this key would load the saved state, which is older, and number anew; and
   * the block of the one that stopped would never count as folded, so no checkpoint could pass it.
   */
  #actorStopped (key: string, error: Error): void {
    this.stopped.stopped(key, this.#received, error)
    this.#giveUp(`${this.deps.kind.one} actor stopped: the partition is folded again`, error, this.#fieldOf(key))
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
   * Logs nothing: all actors try again while a store is away, and a line for each attempt would bury the log. The
   * condition `users` or `rooms` tells of it once, with this reason.
   */
  #waits (key: string, error: Error): void {
    this.#lastError = `states of ${this.deps.kind.one}s can not be loaded: ${error.message}`
    if (!this.#waiting.has(key)) this.#waiting.set(key, Date.now())
  }

  #failed (what: string, error: Error, fields: object = {}): void {
    this.#lastError = `${what}: ${error.message}`
    this.deps.failed(what, error, { partition: this.partition, ...fields })
  }

  /** Once for each key, however often it rests and is found out again. */
  #setKeyAside (key: string, error: Error): void {
    if (this.#aside.has(key)) return
    this.#aside.add(key)
    this.deps.keySetAside(key, this.partition, this.#folded + 1n, error)
  }

  /** Names it in the log. */
  #fieldOf (key: string): object { return this.deps.kind.one === 'user' ? { userId: key } : { roomId: key } }

  #actorDeps (key: string): ActorDeps<K> {
    const { kind, log, snapshots, limits, setAside } = this.deps
    const { partition } = this
    const field = this.#fieldOf(key)
    return {
      unfit: this.stopped.reason(key),
      isHistory: (entry, block) => block.offset < this.end && Date.now() - entry.atMs > limits.historyAgeMs,
      load: key => this.#read(snapshots.load(partition, key, kind.states.partsOf)),
      parts: (key, ids) => this.#read(snapshots.parts(partition, key, ids)),
      replay: (key, after, before) => replayOf(log, kind.stream, partition, key, after, before),
      setAside: (entry, block, error) => setAside(entry, partition, block.offset, error),
      keySetAside: error => { this.#setKeyAside(key, error) },
      failed: (error, entry) => { this.#failed('entry failed', error, { ...field, fact: entry.fact.type }) },
      crashed: error => { this.#failed(`${kind.one} actor crashed`, error, field) },
      unreadable: error => { this.#failed(`payloads of a ${kind.one} can not be read`, error, field) },
      waits: error => { this.#waits(key, error) },
      waited: () => { this.#waiting.delete(key) },
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
