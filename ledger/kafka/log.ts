import { setImmediate as turn } from 'node:timers/promises'
import { type Health, nobodyWatches } from '../../schemas/conditions.js'
import { storedPartOf } from '../../schemas/apps.js'
import { GatewayError } from '../../schemas/errors.js'
import { endingOfMany } from '../ending.js'
import { ledger, type Stream } from '../../schemas/streams.js'
import type {
  AppendOptions, Block, EventLog, Follower, Following, FollowOptions, GroupPlaces, Position, ReadRange,
} from '../log.js'
import type { RejectedAt } from '../rejected.js'
import { SetAside } from '../set-aside.js'
import type { LogTimings } from '../timings.js'
import { Appender, type AppendMetrics } from './appender.js'
import type { Changelog } from '../changelog.js'
import type { Circuit } from '../circuit.js'
import { kafkaChangelog } from './changelog.js'
import type { Cluster, ClusterOptions } from './cluster.js'
import { deleteTo } from './cutting.js'
import { decodeCopy } from './delivery.js'
import { Followings, type PartitionLag, type StandingPartition } from './followings.js'
import { decoderOf, singleObjectFormat, type RecordFormat } from './format.js'
import type { Found } from './offsets.js'
import { Reader } from './reader.js'
import type { Unreadable } from './record-batch.js'
import { kafkaGroupPlaces } from './group-places.js'
import { type KafkaStream, wantedTopics } from './stream-topics.js'
import type { TopicWatch } from './topic-watch.js'
import type { TopicPolicy } from './topics.js'

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
  readonly onRejected?: (rejected: RejectedAt) => void
  /** Told how long appends take; nobody by default. */
  readonly timings?: LogTimings
  /** Told of followers that can not follow; nobody by default. */
  readonly health?: Health
  /** Something went wrong that is tried again. Must not throw. */
  failed (what: string, error: Error, fields: object): void
}

export interface KafkaTopic {
  readonly topic: string
  /** Another one of the same name has another id; empty where the brokers are older than 2.8. */
  readonly id: string
  readonly partitions: number
}

/** `slowMs` where it is left out. */
export const slowMsDefault = 10_000
/** How long a reader may keep the event loop. */
const turnMs = 4
const evidenceBytesMax = 1 << 20

/** The streams in Kafka. */
export class KafkaLog implements EventLog {
  readonly metrics: Readonly<AppendMetrics>
  /** What can not be decoded. */
  readonly setAside: SetAside
  /** What names the streams for ever: two logs with the same identity hold the same entries. */
  readonly identity: string
  readonly groupPlaces: GroupPlaces
  private readonly format: RecordFormat
  private readonly appender: Appender
  private readonly followings: Followings
  private readonly closing = endingOfMany()
  private readonly reader: Reader
  private ended: Promise<void> | undefined

  /** @param cluster which knows the topics of all streams, and is this log's to close */
  constructor (
    private readonly cluster: Cluster, private readonly options: KafkaLogOptions, private readonly watch?: TopicWatch
  ) {
    const { topicPrefix, sessionTimeoutMs = 6_000, health = nobodyWatches, slowMs = slowMsDefault, failed } = options
    this.identity = `${cluster.id}/${topicPrefix}`
    this.groupPlaces = kafkaGroupPlaces(cluster, topicPrefix)
    this.format = options.format ?? singleObjectFormat
    this.appender = new Appender({
      cluster,
      format: this.format,
      sendDeadlineMs: options.sendDeadlineMs ?? 5_000,
      pendingBytesMax: options.pendingBytesMax ?? 64 << 20,
      health,
      slowMs,
      timings: options.timings,
      failed,
    })
    this.followings = new Followings({ cluster, topicPrefix, sessionTimeoutMs, health, slowMs, failed })
    this.reader = new Reader(cluster, this.closing.signal)
    this.metrics = this.appender.metrics
    this.setAside = new SetAside({
      evidence: options.readOnly ? undefined : this, bytesMax: evidenceBytesMax, told: options.onRejected,
    })
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
    return await this.followings.start(stream, group, {
      follower,
      instanceId: comesAndGoes ? undefined : this.options.groupInstanceId,
      decode: decoderOf(stream, this.format),
      rejected: (partition, offset, bytes, reason) => { this.reject(stream, partition, offset, bytes, reason) },
    })
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
    const unreadable = ({ offset, bytes, reason }: Unreadable) => {
      this.reject(stream, partition, offset, bytes, reason)
    }
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

  /**
   * The first record that was stored at or after a time, as who appended it says; undefined where there is none.
   *
   * @param atMs ms since 1970
   * @throws GatewayError `ledger-unavailable`
   */
  firstSince (stream: Stream<any>, partition: number, atMs: number): Promise<Found | undefined> {
    this.checkPartition(stream, partition)
    return this.reader.firstSince(this.topicOf(stream), partition, atMs)
  }

  /**
   * Deletes what stands before an offset. Up to 0 it deletes nothing, and tells whether it may.
   *
   * @throws NotSetUp where a person has to change something first, Error where a later try may do better
   */
  async deleteTo (stream: Stream<any>, partition: number, to: bigint): Promise<void> {
    this.checkPartition(stream, partition)
    await deleteTo(this.cluster, this.topicOf(stream), partition, to)
  }

  /** One of `changelogs`. */
  changelog (name: string): Changelog {
    return kafkaChangelog(this.cluster, this.reader, `${this.options.topicPrefix}.${name}`)
  }

  /** What there is of each topic whose entries stay where they were placed, for a record that outlives the process. */
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
    return appends.ok ? this.followings.health() : appends
  }

  /** Of the partitions that this process has in the group, as of their last fetch. */
  lag (group: string): PartitionLag[] { return this.followings.lag(group) }

  /** Partitions that stand still for this process, as far as it follows them or appends to them. */
  standing (): StandingPartition[] {
    const appends = this.appender.standing().map(standing => ({ ...standing, group: undefined }))
    return [...this.followings.standing(), ...appends]
  }

  /** Why no broker takes anything, as far as appends have found out; empty where one does. */
  away (): string { return this.appender.away() }

  /** The same as a circuit: appends are refused while it is not closed, and what was sent is the probe. */
  circuit (): Circuit { return this.appender.circuit() }

  /** Waits until the followers of this log were handed all that it has appended, but not for long. */
  async delivered (): Promise<void> {
    await this.followings.delivered((topic, partition) => this.appender.ackedTo(topic, partition))
  }

  close (): Promise<void> {
    this.ended ??= this.closeOnce()
    return this.ended
  }

  private async closeOnce (): Promise<void> {
    this.watch?.stop()
    await this.appender.flush()
    await this.delivered()
    await this.followings.stop()
    await this.appender.close() // with what followers appended while they stopped
    this.closing.abort()
    this.cluster.close()
  }

  private reject (stream: Stream<any>, partition: number, offset: bigint, bytes: Uint8Array, reason: string): void {
    if (!this.closing.signal.aborted) this.setAside.add(stream, partition, offset, bytes, reason)
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
