import { GatewayError } from '../../schemas/errors.js'
import { bytesOfAll } from '../../schemas/sizes.js'
import type { Stream } from '../../schemas/streams.js'
import type {
  AppendOptions, Block, EventLog, Follower, Following, FramesRange, GroupPlaces, Place, Position, ReadRange,
  StoredBlocks,
} from '../log.js'
import { Pending } from '../pending.js'
import type { RejectedAt } from '../rejected.js'
import { SetAside } from '../set-aside.js'
import { type LogTimings, nobodyTimes, TimedAppends } from '../timings.js'
import type { WriteBatch } from './batch.js'
import { blockBytesMax } from './block.js'
import { StoreError } from './directory.js'
import { Group, type FollowerErrorHandler } from './followers.js'
import { GroupCommits } from './group-commits.js'
import type { PartitionLog } from './partition.js'
import { Sweeper, type KeptStream, type Retention } from './retention.js'
import type { Store, Writer } from './store.js'
import { Streams } from './streams.js'
import { Tombstones } from './tombstones.js'
import { Trims } from './trims.js'
import { deal } from './turns.js'

export interface EmbeddedLogOptions {
  /** Partitions of a stream that is created and not named in `streams`. */
  readonly partitions?: number
  readonly streams?: Readonly<Record<string, Retention & { readonly partitions?: number }>>
  /** Estimated bytes of appends without an outcome; an append that passes it is refused. */
  readonly pendingBytesMax?: number
  /** Of each `<stream>.rejected`. */
  readonly rejected?: Retention
  /** How often retention is looked after; that of bytes also as often as some MiB were appended. */
  readonly sweepMs?: number
  /** A stored block was skipped: it is damaged or can not be decoded, and is in `<stream>.rejected`. Must not throw. */
  readonly onDamage?: (damage: RejectedAt) => void
  readonly onFollowerError?: FollowerErrorHandler
  /** Told how long appends take; nobody by default. */
  readonly timings?: LogTimings
  /** The clock that stamps blocks, ms since 1970. */
  readonly now?: () => number
  /** A clock that is never set, in ms since any moment: it shows whether the other one was. */
  readonly steady?: () => number
}

export interface EmbeddedLogMetrics {
  readonly blocksAppended: number
  readonly entriesAppended: number
  readonly blocksSetAside: number
  readonly pendingBytes: number
}

export interface EmbeddedLog extends EventLog, StoredBlocks {
  readonly metrics: EmbeddedLogMetrics
  readonly groupPlaces: GroupPlaces
  /** Deletes what is older or more than its stream may keep. Runs by itself every `sweepMs`. */
  sweep (): Promise<void>
}

/** The record of a block that is set aside must fit into a block itself. */
const evidenceBytesMax = blockBytesMax - (64 << 10)

/** Appended bytes after which it is looked whether a stream holds too many. */
const relieveEveryBytes = 4 << 20

/**
 * The streams in the local store.
 *
 * Items that are given to `append` must own their bytes: they are encoded when the commit begins, and the very objects
 * go to followers afterwards. From the call on they belong to the log and nobody may change them.
 *
 * @throws StoreError `partitions-differ` when `streams` names another count than the stream was created with
 */
export function embeddedLog (store: Store, options: EmbeddedLogOptions = {}): EmbeddedLog {
  return new LmdbLog(store, options)
}

class LmdbLog implements EmbeddedLog, Writer {
  readonly metrics
  private readonly streams: Streams
  private readonly groups = new Map<string, Group>()
  private readonly closing = new AbortController()
  /** Who has something to write, in the order of their turns. */
  private waiting: PartitionLog[] = []
  private written: PartitionLog[] = []
  /** Commit numbers that the commit under way takes. */
  private commitsWritten = 0
  private readonly groupCommits: GroupCommits
  private readonly tombstones: Tombstones
  private readonly pending: Pending
  private readonly timed = new TimedAppends()
  private readonly timings: LogTimings
  private readonly now: () => number
  private readonly sweeper: Sweeper
  private readonly trims: Trims
  private readonly sweeping: NodeJS.Timeout
  private bytesUnswept = 0
  private ended: Promise<void> | undefined

  constructor (private readonly store: Store, private readonly options: EmbeddedLogOptions) {
    const pending = new Pending(options.pendingBytesMax ?? 64 << 20)
    this.pending = pending
    this.now = options.now ?? Date.now
    this.timings = options.timings ?? nobodyTimes
    const setAside = new SetAside({ evidence: this, bytesMax: evidenceBytesMax, told: options.onDamage, now: this.now })
    this.tombstones = new Tombstones(setAside)
    this.groupCommits = new GroupCommits(store)
    this.metrics = {
      blocksAppended: 0,
      entriesAppended: 0,
      get blocksSetAside () { return setAside.count },
      get pendingBytes () { return pending.bytes },
    }
    this.sweeper = new Sweeper({
      streams: () => this.keptStreams(),
      trim: trim => this.trims.run(trim),
      stopped: () => this.closing.signal.aborted,
      now: this.now,
      steady: options.steady ?? (() => performance.now()),
    })
    this.streams = new Streams(store.env, {
      closing: this.closing.signal,
      now: this.now,
      partitionsOf: name => options.streams?.[name]?.partitions ?? options.partitions ?? 8,
      opened: log => {
        this.tombstones.checkLast(log)
        this.sweeper.opened(log)
      },
      setAside: ({ stream, partition }, offset, bytes, reason) => {
        if (!this.closing.signal.aborted) setAside.add(stream, partition, BigInt(offset), bytes, reason)
      },
      released: ({ share }, { bytes, own }) => { this.pending.release(share, bytes, own) },
    })
    this.checkPartitions()
    this.trims = new Trims(store, this.streams.catalog)
    store.register(this)
    store.onClose(() => this.close())
    this.sweeping = setInterval(() => { this.sweep().catch(() => {}) }, options.sweepMs ?? 60_000)
    this.sweeping.unref()
  }

  partitions (stream: Stream<any>): number { return this.streams.partitions(stream) }

  append<T> (
    stream: Stream<T>, partition: number, items: readonly T[], options: AppendOptions = {}
  ): Promise<Position> {
    const { derivedFrom = -1n, lazy = false, reserved: own = false, source = '' } = options
    const { bytes = bytesOfAll(stream, items) } = options
    if (this.closing.signal.aborted) return Promise.reject(closed())
    if (items.length === 0) return Promise.reject(new RangeError(`append to ${stream.name}: got no items, want some`))
    let log: PartitionLog
    try {
      log = this.streams.logOf(stream, partition)
      this.pending.take(log.share, bytes, own)
    } catch (err) {
      return Promise.reject(err)
    }
    return new Promise((resolve, reject) => {
      const settle = this.timed.isTimed(lazy) ? this.timing(resolve) : resolve
      log.enqueue({ items, bytes, own, source, derivedFrom: Number(derivedFrom), resolve: settle, reject })
      this.waitFor(log)
      this.store.request(lazy)
    })
  }

  async follow<T> (stream: Stream<T>, group: string, follower: Follower<T>): Promise<Following> {
    if (this.closing.signal.aborted) throw closed()
    const key = `${stream.name}\0${group}`
    let found = this.groups.get(key)
    if (!found) {
      const onError = this.options.onFollowerError ?? (() => {})
      const { entry: { streamId }, logs } = this.streams.of(stream)
      found = new Group(stream.name, group, this.groups.size, logs, this.groupCommits.by(streamId, group), onError)
      this.groups.set(key, found)
    }
    return found.join(follower)
  }

  readonly groupPlaces: GroupPlaces = {
    list: async streams => streams.flatMap(stream =>
      this.groupCommits.names(this.streams.of(stream).entry.streamId).map(group => ({ stream: stream.name, group }))),
    of: async (stream, group) => {
      const committed = this.groupCommits.by(this.streams.of(stream).entry.streamId, group)
      const places = this.partitionsOf(stream).map(partition => [partition, committed.stored(partition)] as const)
      return new Map(places.filter((each): each is [number, Place] => each[1] !== undefined))
    },
    hasMembers: async (stream, group) => this.hasMembers(stream, group),
    forget: async (stream, group) => {
      if (this.hasMembers(stream, group)) throw new GatewayError('has-readers')
      const committed = this.groupCommits.by(this.streams.of(stream).entry.streamId, group)
      await Promise.all(this.partitionsOf(stream).map(partition => committed.forget(partition)))
    },
  }

  private hasMembers ({ name }: Stream<any>, group: string): boolean {
    return this.groups.get(`${name}\0${group}`)?.isEmpty === false
  }

  private partitionsOf (stream: Stream<any>): number[] {
    return Array.from({ length: this.partitions(stream) }, (_, partition) => partition)
  }

  read<T> (stream: Stream<T>, partition: number, range: ReadRange): AsyncIterable<Block<T>> {
    return this.streams.read(stream, partition, range)
  }

  readFrames (stream: Stream<any>, partition: number, range: FramesRange): AsyncIterable<Buffer> {
    return this.streams.readFrames(stream, partition, range)
  }

  bounds (stream: Stream<any>, partition: number): Promise<{ first: bigint, next: bigint }> {
    return this.streams.bounds(stream, partition)
  }

  offsetAt (stream: Stream<any>, partition: number, atMs: number): Promise<bigint> {
    return this.streams.offsetAt(stream, partition, atMs)
  }

  async derivedFrom (stream: Stream<any>, partition: number): Promise<bigint> {
    return BigInt(this.streams.logOf(stream, partition).index.derivedFrom)
  }

  health (): { ok: boolean, reason: string } {
    if (this.closing.signal.aborted) return { ok: false, reason: 'the log is closed' }
    if (this.pending.full) return { ok: false, reason: 'too much waits to be written' }
    return this.store.health()
  }

  sweep (): Promise<void> { return this.sweeper.sweep() }

  close (): Promise<void> {
    this.ended ??= this.closeOnce()
    return this.ended
  }

  private async closeOnce (): Promise<void> {
    clearInterval(this.sweeping)
    await this.store.settled()
    await Promise.all([...this.groups.values()].map(group => group.stop()))
    await this.store.settled() // what followers appended while they stopped
    this.closing.abort()
    for (const log of this.streams.logs()) log.wakeReaders()
  }

  // What the commit loop calls.

  write (batch: WriteBatch): void {
    const atMs = this.now()
    const { catalog } = this.streams
    const waiting = this.waiting
    this.waiting = []
    for (const log of waiting) log.waits = false
    const left = deal(waiting, (log, bytesMax, isTurn) => {
      catalog.writeEntry(batch, this.streams.of(log.stream).entry)
      this.written.push(log) // before it writes: a put may throw, and then it has failed with the others
      const blocks = log.write(batch, catalog.nextCommit, atMs, bytesMax, isTurn)
      if (blocks === 0) this.written.pop()
      else if (blocks > this.commitsWritten) this.commitsWritten = blocks
    }, batch.appendsMax)
    for (const log of left) this.waitFor(log)
    if (left.length > 0) this.store.request(false)
    this.tombstones.write(batch, atMs)
    this.groupCommits.write(batch)
    this.bytesUnswept += batch.bytes
  }

  committed (): void {
    const { written, metrics } = this
    const commit = this.streams.catalog.nextCommit
    this.streams.catalog.committed(this.commitsWritten)
    this.written = []
    this.groupCommits.committed()
    this.commitsWritten = 0
    for (const log of written) {
      const { blocks, entries } = log.committed(commit)
      metrics.blocksAppended += blocks
      metrics.entriesAppended += entries
    }
    for (const log of written) log.deliver()
    if (this.bytesUnswept < relieveEveryBytes) return
    this.bytesUnswept = 0
    this.sweeper.relieve()
  }

  failed (err: GatewayError): void { this.refuse(err, false) }

  refused (err: GatewayError): void { this.refuse(err, true) }

  private refuse (err: GatewayError, keepsOwn: boolean): void {
    this.streams.catalog.failed()
    this.written = []
    this.commitsWritten = 0
    this.groupCommits.failed(err)
    this.waiting = []
    for (const log of this.streams.logs()) {
      log.waits = false
      log.passedOver = 0
      log.refuseAll(err, keepsOwn)
      if (log.queuedBytes > 0) this.waitFor(log)
    }
    this.sweeper.pressed()
  }

  /** @returns what is called in place of `resolve`, and says how long that took */
  private timing (resolve: (position: Position) => void): (position: Position) => void {
    const startMs = performance.now()
    return position => {
      this.timings.appended(performance.now() - startMs)
      resolve(position)
    }
  }

  private waitFor (log: PartitionLog): void {
    if (log.waits) return
    log.waits = true
    this.waiting.push(log)
  }

  private * keptStreams (): Generator<KeptStream> {
    for (const [name, retention] of Object.entries(this.options.streams ?? {})) {
      const logs = this.streams.find(name)?.logs
      if (logs) yield { logs, retention }
    }
    const { rejected: retention } = this.options
    if (retention) for (const { logs } of this.streams.rejected()) yield { logs, retention }
  }

  private checkPartitions (): void {
    for (const [name, { partitions: wanted }] of Object.entries(this.options.streams ?? {})) {
      const stored = this.streams.catalog.find(name)
      if (wanted !== undefined && stored && stored.partitions !== wanted) {
        throw new StoreError('partitions-differ', `got ${wanted}, want ${stored.partitions}, as the stream ${name} in ` +
          'this data directory was created with; the count is fixed for the life of a stream')
      }
    }
  }
}

function closed (): GatewayError { return new GatewayError('ledger-unavailable', 'the log is closed') }
