import { GatewayError } from '../../schemas/errors.js'
import { Batch, type WriteBatch } from './batch.js'
import { type Collected, CommitContents, giveUp, noRoom } from './commit-contents.js'
import { type Environment, type LmdbEnvironment, reasonOf } from './environment.js'
import { Headroom } from './headroom.js'
import { type Medium, openDirectory } from './medium.js'
import { Shortage } from './shortage.js'
import { type LogTimings, nobodyTimes } from '../timings.js'

/**
 * The LMDB environment in the data directory, and the one commit loop that everything embedded shares: streams, tables
 * and snapshots say that they have something to write; the store asks them for it when a commit begins and tells them
 * when it is on the disk. At most one commit is in flight; what arrives meanwhile is the next one.
 */
export interface Store<E extends Environment = Environment> {
  /** For reads. Writes go through a `Writer`. */
  readonly env: E
  /** Takes part in every commit from now on, in order of registration. */
  register (writer: Writer): void
  /** Asks for a commit. A lazy request waits for one of somebody else's, at most `lazyCommitMs`. */
  request (lazy: boolean): void
  /** Resolves when all that was requested before is durable or has failed. */
  settled (): Promise<void>
  /** False while commits fail or lack room; tried again every `probeMs` and with every request. */
  health (): { ok: boolean, reason: string }
  /** How long the commit under way has taken so far or, where that is longer, the last one took. */
  commitMs (): number
  /** The node stops: derived writes that can't be stored now are given up, for the ledger has what they come from. */
  stopping (): void
  /** Runs `task` before the environment closes; last registered, first run. */
  onClose (task: () => Promise<void>): void
  close (): Promise<void>
  readonly metrics: StoreMetrics
}

/** Somebody with something to write. */
export interface Writer {
  /**
   * What it writes comes from the ledger. Where the disk has no room for it, the ledger goes on without it, and it is
   * asked again when there is room; so it keeps what has failed.
   */
  readonly derived?: boolean
  /**
   * What it writes makes room. Where the disk has none, it goes into a commit of its own that may take the reserve of
   * the file, and nobody else's does.
   */
  readonly relief?: boolean
  /** Puts what it has into the commit that begins now. May leave something for the next one by requesting it. */
  write (batch: WriteBatch): void
  /** All of it is on the disk. */
  committed (): void
  /** None of it is. */
  failed (err: GatewayError): void
  /**
   * The disk has no room for all of it. What the gateway itself must write may have some of the reserve: it keeps that,
   * lets go of the rest as in `failed`, and is asked again at once. Absent: `failed`.
   */
  refused? (err: GatewayError): void
  /** Of what is derived: the disk has no room for it, and is looked at every now and then. Absent: `failed`. */
  leftOut? (err: GatewayError): void
  /** It will not be asked again: whatever still waits has failed. */
  givenUp? (err: GatewayError): void
}

export interface StoreMetrics {
  commits: number
  commitsFailed: number
}

export interface CommitOptions {
  /** How long a lazy write may wait for a commit of somebody else's. */
  readonly lazyCommitMs?: number
  /** `async`, the default, leaves a commit to a thread; `sync` keeps the event loop until the disk has it. */
  readonly commits?: 'sync' | 'async'
  /** How far the data file is kept ahead of what it holds. */
  readonly headroomBytes?: number
  /** Told of each commit; nobody by default. */
  readonly timings?: LogTimings
}

export interface StoreOptions extends CommitOptions {
  /** The data directory. Created with mode 0700 where there is none. */
  readonly directory: string
  /** Names that may stand in the directory beside ours, before the store was first opened there. */
  readonly neighbours?: readonly string[]
}

const failedLazyMs = 500
const headroomEveryBytes = 1 << 20
const headroomEveryCommits = 64

/** @throws StoreError as `openDirectory` */
export async function openStore (options: StoreOptions): Promise<Store<LmdbEnvironment>> {
  return await openStoreIn(await openDirectory(options.directory, options.neighbours ?? []), options)
}

/** @param medium closed with the store, and where that can not be opened */
export async function openStoreIn<E extends Environment> (
  medium: Medium<E>, options: CommitOptions = {}
): Promise<Store<E>> {
  try {
    const headroom = await Headroom.open(medium.file, medium.pages, options.headroomBytes ?? 16 << 20)
    return new EmbeddedStore(medium, headroom, options)
  } catch (err) {
    await medium.close()
    throw err
  }
}

class EmbeddedStore<E extends Environment> implements Store<E> {
  readonly metrics: StoreMetrics = { commits: 0, commitsFailed: 0 }
  private readonly contents: CommitContents
  private readonly closeTasks: Array<() => Promise<void>> = []
  private readonly batch: Batch
  private readonly lazyCommitMs: number
  private readonly timings: LogTimings
  private immediate: NodeJS.Immediate | undefined
  private timer: NodeJS.Timeout | undefined
  private committing = false
  private startedMs = 0
  private lastMs = 0
  private bytesSinceKept = 0
  /** Something was requested since the commit in flight collected its writes; urgent: not only lazily. */
  private requested = false
  private urgent = false
  private waiting: Array<() => void> = []
  private failure: GatewayError | undefined
  private readonly shortage: Shortage
  private state: 'open' | 'closing' | 'closed' = 'open'
  private closing: Promise<void> | undefined
  private readonly commitTurn = (): void => { this.immediate = undefined; this.commit() }
  /** Returns nothing on purpose: lmdb would wait for a promise, and every `put` returns one, before it commits. */
  private readonly replay = (): void => { this.batch.replay() }

  readonly env: E

  constructor (
    private readonly medium: Medium<E>, private readonly headroom: Headroom, private readonly options: CommitOptions
  ) {
    this.env = medium.env
    this.batch = new Batch(this.env)
    const found = (derivedToo: boolean): void => {
      if (derivedToo || this.failure || this.contents.isStopping) this.request(false)
    }
    this.shortage = new Shortage(headroom, found, () => { this.probe() })
    this.contents = new CommitContents(this.batch, headroom, this.shortage)
    this.lazyCommitMs = options.lazyCommitMs ?? 20
    this.timings = options.timings ?? nobodyTimes
  }

  register (writer: Writer): void { this.contents.register(writer) }

  onClose (task: () => Promise<void>): void { this.closeTasks.push(task) }

  health (): { ok: boolean, reason: string } {
    if (this.state !== 'open') return { ok: false, reason: 'the store is closed' }
    const failure = this.shortage.isFull ? noRoom() : this.failure
    return failure ? { ok: false, reason: failure.message } : { ok: true, reason: '' }
  }

  request (lazy: boolean): void {
    this.requested = true
    if (!lazy) this.urgent = true
    if (!this.committing) this.schedule()
  }

  settled (): Promise<void> {
    if (!this.requested && !this.committing) return Promise.resolve()
    this.request(false)
    return new Promise(resolve => this.waiting.push(resolve))
  }

  stopping (): void {
    this.contents.isStopping = true
    this.request(false)
  }

  close (): Promise<void> {
    this.closing ??= this.closeOnce()
    return this.closing
  }

  commitMs (): number { return Math.max(this.lastMs, this.committing ? performance.now() - this.startedMs : 0) }

  private async closeOnce (): Promise<void> {
    for (const task of this.closeTasks.reverse()) await task()
    await this.settled()
    this.state = 'closing'
    this.unschedule()
    this.shortage.close()
    await this.headroom.close()
    await this.medium.close()
    this.state = 'closed'
    giveUp(this.contents.writers, new GatewayError('ledger-unavailable', 'the store is closed'))
  }

  /** In the check phase, after every socket that is readable in this turn was read: what they append is one commit. */
  private schedule (): void {
    if (this.urgent) this.immediate ??= setImmediate(this.commitTurn)
    else this.timer ??= setTimeout(this.commitTurn, this.failure ? failedLazyMs : this.lazyCommitMs)
  }

  private unschedule (): void {
    clearTimeout(this.timer)
    clearImmediate(this.immediate)
    this.timer = this.immediate = undefined
  }

  private commit (): void {
    if (this.committing || this.state !== 'open') return
    this.unschedule()
    this.committing = true
    this.requested = this.urgent = false
    const waiting = this.waiting
    this.waiting = []
    const startedMs = this.startedMs = performance.now()
    let collected: Collected
    try {
      collected = this.contents.collect()
    } catch (err) {
      this.finish(startedMs, waiting, err)
      return
    }
    const { relief, others, derivedBytes } = collected
    const withoutDerived = relief.pageBytes + this.shortage.neededBy(others.pageBytes - relief.pageBytes)
    const bytes = withoutDerived + derivedBytes
    if (this.headroom.has(bytes)) {
      this.write(startedMs, waiting)
      return
    }
    this.headroom.reach(bytes).then(hasRoom => {
      if (hasRoom || this.headroom.has(withoutDerived)) {
        if (derivedBytes > 0) this.contents.leaveOutDerivedUnless(bytes, others)
        this.write(startedMs, waiting)
      } else {
        this.relieve(startedMs, waiting, collected)
      }
    })
  }

  /** The disk has no room for all: who has some of the reserve is asked again. */
  private relieve (startedMs: number, waiting: Array<() => void>, collected: Collected): void {
    this.contents.refuse(collected)
    if (this.shortage.isShort) this.fail(noRoom(), this.contents.others, true)
    if (this.contents.collectRelief(collected.relief)) this.write(startedMs, waiting)
    else this.finish(startedMs, waiting, noRoom())
  }

  private write (startedMs: number, waiting: Array<() => void>): void {
    if (this.batch.isEmpty) {
      this.finish(startedMs, waiting)
    } else if (this.options.commits === 'sync') {
      let failed: unknown
      try {
        this.env.transactionSync(this.replay)
      } catch (err) {
        failed = err
      }
      this.finish(startedMs, waiting, failed)
    } else {
      this.env.batch(this.replay).then(
        () => this.finish(startedMs, waiting),
        err => reasonOf(err).then(reason => this.finish(startedMs, waiting, reason)))
    }
  }

  private finish (startedMs: number, waiting: Array<() => void>, err?: unknown): void {
    this.lastMs = performance.now() - startedMs
    this.metrics.commits++
    this.committing = false
    this.headroom.committed()
    this.bytesSinceKept += this.batch.bytes
    if (this.bytesSinceKept > headroomEveryBytes || this.metrics.commits % headroomEveryCommits === 0) {
      this.bytesSinceKept = 0
      this.headroom.keep()
    }
    if (err === undefined) {
      this.timings.committed(this.lastMs)
      if (!this.contents.relieving) this.failure = undefined
      for (const writer of this.contents.taking) writer.committed()
    } else {
      this.fail(err, this.contents.relieving ? this.contents.taking : this.contents.writers)
    }
    for (const resolve of waiting) resolve()
    if (this.requested || this.waiting.length > 0) {
      if (this.waiting.length > 0) this.urgent = true
      this.schedule()
    }
  }

  /** @param keepsOwn see `Writer.refused` */
  private fail (err: unknown, writers: readonly Writer[], keepsOwn = false): void {
    this.metrics.commitsFailed++
    if (err instanceof GatewayError) {
      this.failure = err
    } else {
      const text = this.medium.textOf(err)
      this.failure = new GatewayError('ledger-unavailable', `the local store can not be written: ${text}`, { cause: err })
    }
    for (const writer of writers) {
      if (keepsOwn && writer.refused) writer.refused(this.failure)
      else writer.failed(this.failure)
    }
    this.contents.hasFailed(this.failure)
    this.shortage.lookLater()
  }

  private probe (): void {
    if (this.state !== 'open') return
    if (this.shortage.isShort) this.shortage.find()
    else if (this.failure) this.request(false)
  }
}
