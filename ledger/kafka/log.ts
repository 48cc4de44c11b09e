import { setImmediate as turn } from 'node:timers/promises'
import { type Health, nobodyWatches } from '../../schemas/conditions.js'
import { storedPartOf } from '../../schemas/apps.js'
import { GatewayError } from '../../schemas/errors.js'
import { endingOfMany } from '../ending.js'
import { ledger, type Stream } from '../../schemas/streams.js'
import type {
  AppendOptions, Block, EventLog, Follower, Following, FollowOptions, GroupPlaces, Position, ReadRange,
} from '../log.js'
import { isRejectedStream, rejectedRecord, rejectedStream } from '../rejected.js'
import type { LogTimings } from '../timings.js'
import { Appender, type AppendMetrics } from './appender.js'
import type { Changelog } from '../changelog.js'
import type { Circuit } from '../circuit.js'
import { changelogTopic, kafkaChangelog } from './changelog.js'
import { Cluster, type ClusterOptions } from './cluster.js'
import { deleteTo } from './cutting.js'
import { decodeCopy } from './delivery.js'
import { KafkaFollowing } from './following.js'
import { decoderOf, singleObjectFormat, type RecordFormat } from './format.js'
import type { Found } from './offsets.js'
import { Reader } from './reader.js'
import type { Unreadable } from './record-batch.js'
import { kafkaGroupPlaces } from './group-places.js'
import { checkGroup } from './groups.js'
import { checkRights } from './rights.js'
import { type KafkaStream, wantedTopics } from './stream-topics.js'
import { TopicWatch } from './topic-watch.js'
import { ensureTopics, findTopics, patiently, reach, type TopicPolicy } from './topics.js'
import { checkWire } from './wire-check.js'

export interface KafkaLogOptions extends ClusterOptions {
  /** HOST:PORT of some brokers; the others are learned from them. */
  readonly brokers: readonly string[]
  /** A topic is `<prefix>.<stream>`, a group `<prefix>.<group>.<stream>`. */
  readonly topicPrefix: string
  readonly streams: readonly KafkaStream[]
  /** Of the public streams; Avro single-object encoding where it is left out. */
  readonly format?: RecordFormat
  /** How long a send may take. Its outcome is unknown then, and it is sent again. */
  readonly sendDeadlineMs?: number
  /** Bytes of appends without an outcome, all fields counted; an append that passes its share is refused. */
  readonly pendingBytesMax?: number
  /** What only a person can mend is tried again after so long, and topics are looked at. */
  readonly slowMs?: number
  /** How long a member of a group may be silent before its partitions go to others. */
  readonly sessionTimeoutMs?: number
  /** By which groups know this process again after a restart; of no other one. See `Membership`. */
  readonly groupInstanceId?: string | undefined
  /** Changelogs, each with as many partitions as the stream that it is for. */
  readonly changelogs?: ReadonlyArray<{ readonly name: string, readonly like: Stream<any> }>
  /** How topics come to be that are not there. */
  readonly topics?: TopicPolicy
  /** Creates no topic and appends nothing, not even what it sets aside. */
  readonly readOnly?: boolean
  /** A stored record was skipped: it can not be decoded, and stands in `<stream>.rejected`. Must not throw. */
  readonly onRejected?: (rejected: { stream: string, partition: number, offset: bigint, reason: string }) => void
  /** Told how long appends take; nobody by default. */
  readonly timings?: LogTimings
  /** Told of followers that can not follow; nobody by default. */
  readonly health?: Health
  /** Something went wrong that is tried again. Must not throw. */
  failed (what: string, error: Error, fields: object): void
}

export interface KafkaLog extends EventLog {
  readonly groupPlaces: GroupPlaces
  readonly metrics: Readonly<AppendMetrics> & { readonly rejected: number }
  /** What names the streams for ever: two logs with the same identity hold the same entries. */
  readonly identity: string
  /** One of `changelogs`. */
  changelog (name: string): Changelog
  /**
   * The first record that was stored at or after a time, as who appended it says; undefined where there is none.
   *
   * @param atMs ms since 1970
   * @throws GatewayError `ledger-unavailable`
   */
  firstSince (stream: Stream<any>, partition: number, atMs: number): Promise<Found | undefined>
  /**
   * Deletes what stands before an offset. Up to 0 it deletes nothing, and tells whether it may.
   *
   * @throws NotSetUp where a person has to change something first, Error where a later try may do better
   */
  deleteTo (stream: Stream<any>, partition: number, to: bigint): Promise<void>
  /** What there is of each topic whose entries stay where they were placed, for a record that outlives the process. */
  topics (): KafkaTopic[]
  /** Of the partitions that this process has in the group, as of their last fetch. */
  lag (group: string): PartitionLag[]
  /** Partitions that stand still for this process, as far as it follows them or appends to them. */
  standing (): StandingPartition[]
  /** Why no broker takes anything, as far as appends have found out; empty where one does. */
  away (): string
  /** The same as a circuit: appends are refused while it is not closed, and what was sent is the probe. */
  circuit (): Circuit
  /** Waits until the followers of this log were handed all that it has appended, but not for long. */
  delivered (): Promise<void>
}

/** A partition that goes on for no follower of the group, or takes no appends. */
export interface StandingPartition {
  readonly stream: string
  readonly partition: number
  /** Which group does not get on; undefined for appends. */
  readonly group: string | undefined
  /** Why, as of now. */
  readonly reason: string
}

export interface KafkaTopic {
  readonly topic: string
  /** Another one of the same name has another id; empty where the brokers are older than 2.8. */
  readonly id: string
  readonly partitions: number
}

export interface PartitionLag {
  readonly stream: string
  readonly partition: number
  /** The first offset that was not delivered yet, and the one that the next record gets. */
  readonly next: bigint
  readonly end: bigint
}

/** How long a reader may keep the event loop. */
const turnMs = 4
const slowMsDefault = 10_000
const deliverMs = 2_000
const setAsideMax = 10_000
const rejectedBytesMax = 1 << 20

/**
 * The streams in Kafka. Creates the topics that are absent, unless it is for reading alone.
 *
 * @throws Error naming the brokers when none answers within 10 s, UnsupportedBroker when one speaks other versions,
 *   NotAdmitted when they let us in no further, NotSetUp when topics are not as they must be, or are denied
 */
export async function openKafkaLog (options: KafkaLogOptions): Promise<KafkaLog> {
  await checkWire()
  const cluster = new Cluster(options.brokers, options)
  try {
    await reach(cluster, options.brokers)
    if (options.readOnly) {
      const names = options.streams.map(({ stream }) => `${options.topicPrefix}.${stream.name}`)
      await patiently(() => findTopics(cluster, names))
      return new Log(cluster, options)
    }
    const wanted = wantedTopics(options.streams, options.topicPrefix)
    await patiently(() => ensureTopics(cluster, wanted, options.topics))
    const nameOf = (name: string) => `${options.topicPrefix}.${name}`
    const changelogs = (options.changelogs ?? []).map(({ name, like }) => (
      { ...changelogTopic(nameOf(name), cluster.partitions(nameOf(like.name))), like: nameOf(like.name) }))
    await patiently(() => ensureTopics(cluster, changelogs, options.topics))
    // The transactional id of one partition stands for all: rights are granted to what they begin with.
    const ids = changelogs.map(({ topic }) => `${topic}.0`)
    await patiently(() => checkRights(cluster, [...wanted, ...changelogs], ids))
    const watch = new TopicWatch({
      cluster,
      wanted: [...wanted, ...changelogs],
      health: options.health ?? nobodyWatches,
      everyMs: options.slowMs ?? slowMsDefault,
    })
    await patiently(() => watch.start())
    return new Log(cluster, options, watch)
  } catch (err) {
    cluster.close()
    throw err
  }
}

class Log implements KafkaLog {
  readonly metrics: AppendMetrics & { rejected: number }
  readonly identity: string
  readonly groupPlaces: GroupPlaces
  private readonly format: RecordFormat
  private readonly appender: Appender
  private readonly followings = new Map<KafkaFollowing<any>, { stream: string, topic: string, group: string }>()
  private readonly rejected = new Set<string>()
  private readonly closing = endingOfMany()
  private readonly reader: Reader
  private followers = 0
  private ended: Promise<void> | undefined

  constructor (
    private readonly cluster: Cluster, private readonly options: KafkaLogOptions, private readonly watch?: TopicWatch
  ) {
    this.identity = `${cluster.id}/${options.topicPrefix}`
    this.groupPlaces = kafkaGroupPlaces(cluster, options.topicPrefix)
    this.format = options.format ?? singleObjectFormat
    this.appender = new Appender({
      cluster,
      format: this.format,
      sendDeadlineMs: options.sendDeadlineMs ?? 5_000,
      pendingBytesMax: options.pendingBytesMax ?? 64 << 20,
      health: options.health ?? nobodyWatches,
      slowMs: options.slowMs ?? slowMsDefault,
      timings: options.timings,
      failed: options.failed,
    })
    this.reader = new Reader(cluster, this.closing.signal)
    this.metrics = Object.assign(this.appender.metrics, { rejected: 0 })
  }

  partitions (stream: Stream<any>): number {
    const partitions = this.cluster.partitions(this.topicOf(stream))
    if (partitions === 0) throw new RangeError(`stream ${stream.name}: the log was not opened with it`)
    return partitions
  }

  append<T> (stream: Stream<T>, partition: number, items: readonly T[], options?: AppendOptions): Promise<Position> {
    if (this.options.readOnly) return Promise.reject(new GatewayError('ledger-unavailable', 'the log is open for reading'))
    return this.appender.append(stream, this.topicOf(stream), partition, items, options)
  }

  async follow<T> (
    stream: Stream<T>, group: string, follower: Follower<T>, { comesAndGoes = false }: FollowOptions = {}
  ): Promise<Following> {
    if (this.closing.signal.aborted) throw closed()
    this.partitions(stream)
    await checkGroup(this.cluster, `${this.options.topicPrefix}.${group}.${stream.name}`)
    const { topicPrefix, sessionTimeoutMs = 6_000, groupInstanceId, slowMs = slowMsDefault, failed } = this.options
    const { health = nobodyWatches } = this.options
    const topic = this.topicOf(stream)
    const following = new KafkaFollowing<T>({
      cluster: this.cluster,
      topic,
      groupId: `${topicPrefix}.${group}.${stream.name}`,
      lane: `follower ${++this.followers}`,
      sessionTimeoutMs,
      instanceId: comesAndGoes ? undefined : groupInstanceId,
      follower,
      decode: decoderOf(stream, this.format),
      rejected: (partition, offset, bytes, reason) => this.setAside(stream, partition, offset, bytes, reason),
      health,
      slowMs,
      failed,
    })
    this.followings.set(following, { stream: stream.name, topic, group })
    await following.start()
    const stop = () => following.stop().finally(() => this.followings.delete(following))
    return {
      commit: (partition, next) => { following.commit(partition, next) },
      keep: (partition, place) => following.keep(partition, place),
      reassign: partition => following.reassign(partition),
      stop,
    }
  }

  async * read<T> (
    stream: Stream<T>, partition: number, { from, to, signal, key, keys, passed }: ReadRange
  ): AsyncGenerator<Block<T>> {
    this.checkPartition(stream, partition)
    if (signal?.aborted || this.closing.signal.aborted) return
    const decode = keys && stream.decodeItemsOf
      ? (bytes: Uint8Array) => stream.decodeItemsOf!(bytes, keys)
      : decoderOf(stream, this.format)
    const wanted = key === undefined ? undefined : Buffer.from(storedPartOf(key))
    let startedMs = performance.now()
    const unreadable = ({ offset, bytes, reason }: Unreadable) =>
      this.setAside(stream, partition, offset, bytes, reason)
    const records = this.reader.records(this.topicOf(stream), partition, { from, to, signal, passed }, unreadable)
    for await (const { offset, value } of records) {
      let items: readonly T[] = []
      try {
        if (!wanted || value?.includes(wanted)) items = decodeCopy(value, decode)
      } catch (err) {
        unreadable({ offset, bytes: value ?? Buffer.alloc(0), reason: (err as Error).message })
      }
      if (keys && value) yield { partition, offset, items, stored: value.length }
      else if (items.length > 0) yield { partition, offset, items }
      if (performance.now() - startedMs < turnMs) continue
      await turn()
      startedMs = performance.now()
    }
  }

  async bounds (stream: Stream<any>, partition: number): Promise<{ first: bigint, next: bigint }> {
    this.checkPartition(stream, partition)
    return this.reader.bounds(this.topicOf(stream), partition)
  }

  async offsetAt (stream: Stream<any>, partition: number, atMs: number): Promise<bigint> {
    this.checkPartition(stream, partition)
    return this.reader.offsetAt(this.topicOf(stream), partition, atMs)
  }

  async derivedFrom (stream: Stream<any>, partition: number): Promise<bigint> {
    this.checkPartition(stream, partition)
    return this.reader.derivedFrom(this.topicOf(stream), partition)
  }

  firstSince (stream: Stream<any>, partition: number, atMs: number): Promise<Found | undefined> {
    this.checkPartition(stream, partition)
    return this.reader.firstSince(this.topicOf(stream), partition, atMs)
  }

  async deleteTo (stream: Stream<any>, partition: number, to: bigint): Promise<void> {
    this.checkPartition(stream, partition)
    await deleteTo(this.cluster, this.topicOf(stream), partition, to)
  }

  changelog (name: string): Changelog {
    return kafkaChangelog(this.cluster, this.reader, `${this.options.topicPrefix}.${name}`)
  }

  topics (): KafkaTopic[] {
    const { streams, topicPrefix } = this.options
    return wantedTopics(streams, topicPrefix).filter(({ mayGrow }) => !mayGrow).map(({ topic }) =>
      ({ topic, id: this.cluster.topics.id(topic), partitions: this.cluster.topics.grownTo(topic) }))
  }

  health (): { ok: boolean, reason: string } {
    for (const topic of this.cluster.topics.names) {
      const reason = this.cluster.topics.troubleOf(topic)
      if (reason !== '') return { ok: false, reason }
    }
    const denied = this.watch?.deniedOf(this.topicOf(ledger)) ?? ''
    if (denied !== '') return { ok: false, reason: denied }
    const appends = this.appender.health()
    if (!appends.ok) return appends
    for (const following of this.followings.keys()) {
      const health = following.health()
      if (!health.ok) return health
    }
    return { ok: true, reason: '' }
  }

  lag (group: string): PartitionLag[] {
    return [...this.followings].flatMap(([following, of]) =>
      of.group === group ? following.lag().map(lag => ({ stream: of.stream, ...lag })) : [])
  }

  standing (): StandingPartition[] {
    const followers = [...this.followings].flatMap(([following, { stream, group }]) =>
      following.standing().map(standing => ({ stream, group, ...standing })))
    return [...followers, ...this.appender.standing().map(standing => ({ ...standing, group: undefined }))]
  }

  away (): string { return this.appender.away() }

  circuit (): Circuit { return this.appender.circuit() }

  async delivered (): Promise<void> {
    await Promise.all([...this.followings].flatMap(([following, { topic }]) => following.lag().map(({ partition }) =>
      following.delivered(partition, this.appender.ackedTo(topic, partition), deliverMs))))
  }

  close (): Promise<void> {
    this.ended ??= this.closeOnce()
    return this.ended
  }

  private async closeOnce (): Promise<void> {
    this.watch?.stop()
    await this.appender.flush()
    await this.delivered()
    await Promise.all([...this.followings.keys()].map(following => following.stop()))
    await this.appender.close() // with what followers appended while they stopped
    this.closing.abort()
    this.cluster.close()
  }

  private setAside (stream: Stream<any>, partition: number, offset: bigint, bytes: Uint8Array, reason: string): void {
    const where = `${partition}@${offset}`
    const key = `${stream.name} ${where}`
    if (this.rejected.has(key) || this.closing.signal.aborted) return
    if (this.rejected.size < setAsideMax) this.rejected.add(key)
    this.metrics.rejected++
    this.options.onRejected?.({ stream: stream.name, partition, offset, reason })
    if (isRejectedStream(stream) || this.options.readOnly) return
    const rejected = rejectedStream(stream)
    const record = rejectedRecord(bytes.subarray(0, rejectedBytesMax), where, reason, Date.now())
    // A failure to keep the evidence must not stop the partition; onRejected has told of it.
    const options = { lazy: true, reserved: true }
    this.append(rejected, partition % this.partitions(rejected), [record], options).catch(() => {})
  }

  private checkPartition (stream: Stream<any>, partition: number): void {
    const partitions = this.partitions(stream)
    if (!(partition >= 0 && partition < partitions)) {
      throw new RangeError(`stream ${stream.name}: got partition ${partition}, want 0 to ${partitions - 1}`)
    }
  }

  private topicOf ({ name }: Stream<any>): string { return `${this.options.topicPrefix}.${name}` }
}

function closed (): GatewayError { return new GatewayError('ledger-unavailable', 'the log is closed') }
