import type { Block, EventLog } from '../ledger/log.js'
import { GatewayError } from '../schemas/errors.js'
import type { Entry } from '../schemas/facts.js'
import type { UplinkAccepted } from '../schemas/records.js'
import { ledger, uplinks } from '../schemas/streams.js'
import { Closes } from './closes.js'
import type { AskRequest, Links, LocalEnds, Question } from './links.js'
import { ofPartition, type Snapshots, SnapshotsLost } from './snapshots.js'
import type { Actor, ActorSystem } from './system.js'
import { type FoldingBlock, type SavedAs, userActor, type UserMessage } from './user/actor.js'
import type { Settle } from './user/effects.js'
import type { UserState } from './user/state.js'

export interface PartitionDeps {
  readonly log: EventLog
  readonly snapshots: Snapshots
  readonly system: ActorSystem
  readonly links: Links & Pick<LocalEnds, 'owns' | 'disowns'>
  readonly limits: PartitionLimits
  settled (settle: Settle): void
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
  /** Entries folding at once; past it the log waits. */
  readonly foldingMax: number
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
  checkpointEntries: 5_000,
  passivateAfterMs: 2_000,
  resumeBytesMax: 128 * 1024,
  historyAgeMs: 60_000,
  revokeMs: 5_000,
}

/** Questions that wait for blocks to be received; past it one is not answered. */
const questionsMax = 10_000

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
  /** Changed since the last checkpoint. */
  dirty: boolean
  /** In a checkpoint that is not stored yet: the store still has the state before. */
  saving: boolean
  touchedAtMs: number
}

/**
 * The user actors of one ledger partition, from its assignment to its revocation: hands each block to the users that it
 * names, publishes what they accept, and saves their states.
 *
 * Blocks are folded side by side by their users, but `uplinks` and checkpoints follow the log: each goes up to the last
 * block before which everything is folded.
 */
export class Partition {
  readonly #users = new Map<string, ActiveUser>()
  readonly #folding: FoldingBlock[] = []
  #foldingEntries = 0
  #wake: (() => void) | undefined

  /** Last block handed to the users, and last one up to which all are folded. */
  #received: bigint
  #folded: bigint
  /** Uplinks are in their stream up to here; a replay from an older checkpoint leaves them out. */
  #published: bigint
  #unpublished: UplinkAccepted[] = []
  #publishing: Promise<void> | undefined
  #publishingSinceMs = 0

  #entriesSinceCheckpoint = 0
  #checkpointing: Promise<void> | undefined
  #saved: bigint
  #savingSinceMs = 0
  /** Users whose state can't be had just now, the one that has waited for longest first, and since when. */
  readonly #waiting = new Map<string, number>()
  #lastError = ''
  readonly #closes: Closes
  /** Questions about blocks that were not received yet. */
  #early: AskRequest[] = []
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
    const closes = new Closes(deps.links, await deps.snapshots.load(partition, ofPartition))
    return new Partition(partition, deps, lost, next, end, published, closes)
  }

  private constructor (
    readonly partition: number, readonly deps: PartitionDeps, readonly lost: () => void, readonly next: bigint,
    /** What is appended from here on is new, whatever the clock of the node that dated it. */
    readonly end: bigint, published: bigint, closes: Closes
  ) {
    this.#closes = closes
    this.#saved = next
    this.#received = this.#folded = next - 1n
    this.#published = published
  }

  /** Takes one block; the next one waits for the promise, if there is one. */
  received (block: Block<Entry>): void | Promise<void> {
    const { items } = block
    this.#closes.received(items)
    const folding = new Folding(this, block)
    this.#received = block.offset
    this.#folding.push(folding)
    this.#foldingEntries += items.length
    this.#entriesSinceCheckpoint += items.length
    const byUser = groupByUser(items)
    folding.users = byUser.size
    for (const [userId, entries] of byUser) {
      const user = this.#active(userId)
      user.dirty = true
      this.#tell(user, { type: 'entries', block: folding, entries })
    }
    if (this.#early.length > 0) for (const question of this.#early.splice(0)) this.ask(question)
    if (this.#entriesSinceCheckpoint >= this.deps.limits.checkpointEntries) this.checkpoint()
    if (this.#foldingEntries > this.deps.limits.foldingMax || this.#unpublished.length > this.deps.limits.foldingMax) {
      return new Promise(resolve => { this.#wake = resolve })
    }
  }

  /** A question about what was not received yet waits for that; who asks does not wait for ever. */
  ask (question: Question): void {
    if (this.#revoked) return
    if (question.type === 'askRequest' && question.asOf > this.#received + 1n) {
      if (this.#early.length < questionsMax) this.#early.push(question)
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
      published: this.#published + 1n,
      saved: this.#saved,
      foldingSinceMs: (this.#folding[0] as Folding | undefined)?.sinceMs ?? this.#waiting.values().next().value ?? 0,
      publishingSinceMs: this.#publishingSinceMs,
      savingSinceMs: this.#savingSinceMs,
      lastError: this.#lastError,
    }
  }

  /** Called when a block's last user has folded it. */
  blockFolded (): void {
    const folding = this.#folding as Folding[]
    let done = 0
    while (done < folding.length && folding[done]!.users === 0) {
      const block = folding[done++]!
      this.#folded = block.offset
      this.#foldingEntries -= block.items.length
      if (block.offset <= this.#published) continue
      for (const uplink of block.uplinks) this.#unpublished.push(uplink)
    }
    if (done > 0) this.#lastError = ''
    folding.splice(0, done)
    if (this.#unpublished.length > 0) this.#publishing ??= this.#publish()
    else if (this.#folded > this.#published && !this.#publishing) this.#published = this.#folded
    this.#resumeLog()
  }

  /**
   * Saves the states of the users touched since the last time, and the place that the next owner starts from. Never
   * rejects: what could not be saved is saved by the next one.
   */
  checkpoint (): Promise<void> {
    this.#checkpointing ??= this.#checkpoint().finally(() => { this.#checkpointing = undefined })
    return this.#checkpointing
  }

  /** Tells edges again what to close. */
  repeatCloses (nowMs: number): void {
    this.#closes.repeat(nowMs)
  }

  /** Ends the actors of users that nothing happened to for a while and whose state is saved. */
  passivateIdle (nowMs: number): void {
    for (const [userId, user] of this.#users) {
      if (user.dirty || user.saving || user.pending > 0) continue
      if (nowMs - user.touchedAtMs < this.deps.limits.passivateAfterMs) continue
      user.actor.stop()
      this.#users.delete(userId)
    }
  }

  /** Holds the log back no longer: what does not fit is for the next owner. */
  leave (): void {
    this.#wake?.()
    this.#wake = undefined
  }

  /** Waits until all is folded, published and saved, but not for ever, and stops every actor. */
  async revoke (): Promise<void> {
    this.#revoked = true
    if (!this.#lost) await this.#saveInTime()
    this.#ended = true
    for (const { actor } of this.#users.values()) actor.stop()
    this.#users.clear()
  }

  async #saveInTime (): Promise<void> {
    const { revokeMs } = this.deps.limits
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<boolean>(resolve => { timer = setTimeout(resolve, revokeMs, true) })
    if (await Promise.race([this.#saveAll(), late])) {
      this.deps.failed('partition given back unsaved', new Error(`not saved in ${revokeMs} ms`), { partition: this.partition })
    }
    clearTimeout(timer)
  }

  async #saveAll (): Promise<false> {
    while (this.#folding.length > 0) await new Promise<void>(resolve => { this.#wake = resolve })
    await this.checkpoint()
    await this.checkpoint() // the first one may have been under way already
    return false
  }

  async #checkpoint (): Promise<void> {
    const next = this.#received + 1n
    const touched: ActiveUser[] = []
    for (const user of this.#users.values()) if (user.dirty) touched.push(user)
    if (touched.length === 0) return
    this.#entriesSinceCheckpoint = 0
    this.#savingSinceMs ||= Date.now()
    const states = new Map<string, Buffer>()
    try {
      await new Promise<void>((resolve, reject) => {
        let replies = 0
        let missing = 0
        const reply = (userId: string, snapshot: SavedAs) => {
          if (snapshot === undefined) missing++
          else if (snapshot !== 'asItIs') states.set(userId, snapshot)
          if (++replies < touched.length) return
          if (missing === 0) resolve()
          else reject(new Error('a user actor has no state to save'))
        }
        for (const user of touched) {
          user.dirty = false
          user.saving = true
          this.#tell(user, { type: 'takeSnapshot', reply })
        }
      })
      // A snapshot that is ahead of the uplinks stream would lose what lies between, were we to end now.
      while (this.#published < next - 1n) {
        if (this.#ended) return
        await (this.#publishing ?? nextTurn())
      }
      const closes = this.#closes.toSave()
      if (closes) states.set(ofPartition, closes)
      await this.deps.snapshots.save(this.partition, next, states)
      this.#saved = next
      this.#savingSinceMs = 0
    } catch (err) {
      for (const user of touched) user.dirty = true
      if (states.has(ofPartition)) this.#closes.notSaved()
      this.#checkLost(err)
      this.#failed('checkpoint failed', err as Error)
    }
    for (const user of touched) user.saving = false
  }

  async #publish (): Promise<void> {
    while (this.#unpublished.length > 0) {
      const items = this.#unpublished
      const derivedFrom = this.#folded
      this.#unpublished = []
      this.#publishingSinceMs = Date.now()
      if (!await this.#append(items, derivedFrom)) return // its `derivedFrom` tells the next owner what is missing
      this.#published = derivedFrom
      this.#publishingSinceMs = 0
      this.#resumeLog()
    }
    this.#publishing = undefined
    if (this.#folded > this.#published) this.#published = this.#folded
  }

  /**
   * Appends to `uplinks` what it will take: what it never will is set aside, and the others must not wait for that.
   *
   * @returns false where the partition has ended before
   */
  async #append (items: readonly UplinkAccepted[], derivedFrom: bigint | undefined): Promise<boolean> {
    const { log, uplinkSetAside } = this.deps
    const options = derivedFrom === undefined ? { lazy: true } : { derivedFrom, lazy: true }
    for (let waitMs = 50; ; waitMs = Math.min(2 * waitMs, 2_000)) {
      try {
        await log.append(uplinks, this.partition, items, options)
        return true
      } catch (err) {
        if (this.#ended) return false
        if (isForGood(err)) {
          if (items.length === 1) {
            uplinkSetAside(items[0]!, this.partition, err as Error)
            return true
          }
          const half = items.length >> 1
          const first = await this.#append(items.slice(0, half), undefined)
          return first && await this.#append(items.slice(half), derivedFrom)
        }
        // The condition `uplinks` tells of it.
        this.#lastError = `uplinks can not be published: ${(err as Error).message}`
        await new Promise(resolve => setTimeout(resolve, waitMs))
      }
    }
  }

  #resumeLog (): void {
    if (!this.#wake) return
    const { foldingMax } = this.deps.limits
    const room = this.#foldingEntries <= foldingMax && this.#unpublished.length <= foldingMax
    if (this.#revoked ? this.#folding.length > 0 : !room) return
    const wake = this.#wake
    this.#wake = undefined
    wake()
  }

  /**
   * What the store has lost would make known users look new. Nothing of this assignment is saved any more; the next one
   * folds everything again from what the store has then.
   */
  #checkLost (error: unknown): void {
    if (!(error instanceof SnapshotsLost) || this.#lost) return
    this.#lost = this.#ended = true
    this.deps.failed('snapshots are lost: the partition is folded again', error, { partition: this.partition })
    this.#wake?.() // the block under way waits for nothing any more
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
      user = { actor: this.#spawn(userId), pending: 0, dirty: false, saving: false, touchedAtMs: 0 }
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
      load: userId => snapshots.load(partition, userId).catch(err => {
        this.#checkLost(err)
        throw err
      }),
      replay: (userId, after, before) => replayUser(log, partition, userId, after, before),
      setAside: (entry, block, error) => setAside(entry, partition, block.offset, error),
      userSetAside: error => { this.#setUserAside(userId, error) },
      failed: (error, entry) => { this.#failed('entry failed', error, { userId, fact: entry.fact.type }) },
      crashed: error => { this.#failed('user actor crashed', error, { userId }) },
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
      this.#failed('user actor stopped', error, { userId })
      this.#users.delete(userId)
    }
    return system.spawn<UserState | null, UserMessage>({ receive: counted, crashed }, null)
  }

  /** A user has taken one message out of its mailbox and is done with it. */
  #done (userId: string): void {
    const user = this.#users.get(userId)
    if (user) user.pending--
  }
}

/** A block on its way through the user actors. */
class Folding implements FoldingBlock {
  readonly uplinks: UplinkAccepted[] = []
  readonly offset: bigint
  readonly items: readonly Entry[]
  /** Users that have yet to fold it. */
  users = 0
  readonly sinceMs = Date.now()

  constructor (readonly partition: Partition, block: Block<Entry>) {
    this.offset = block.offset
    this.items = block.items
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

/** A record that can not be encoded, or that no setting of the stream has room for. */
function isForGood (err: unknown): boolean {
  return !(err instanceof GatewayError) || err.code === 'payload-too-large'
}

function nextTurn (): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
