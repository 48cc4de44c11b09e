import { setTimeout as sleep } from 'node:timers/promises'
import { type Health, nobodyWatches } from '../../schemas/conditions.js'
import { GatewayError } from '../../schemas/errors.js'
import { RegistryAway, type RegisteredSchema, type SchemaRegistry } from '../../schemas/registry.js'
import { register, type AvroSchema } from '../../schemas/single-object.js'
import type { RecordStream, Stream } from '../../schemas/streams.js'
import { CircuitBreaker } from '../circuit.js'
import type { AppendOptions, Block, EventLog, Follower, Following, FollowOptions, Position, ReadRange } from '../log.js'
import { decodeForeign, decoderOf, isRecordStream, room, singleObjectFormat, type RecordFormat } from './format.js'
import type { KafkaLog } from './log.js'

/*
  Confluent wire format
    RECORD => MAGIC ID BODY
    MAGIC  => 00
    ID     => uint32, big-endian: of the writer's schema in the registry
    BODY   => Avro binary
*/

const prefixBytes = 5
/** Schemas of others that are kept; records with any further one are rejected. */
const foreignMax = 1_000
/** Ids that can not be read, remembered for a while so that a flood of them is not one of questions. */
const refusedMax = 1_000
const refusedMs = 10_000
const schemaCharsMax = 1 << 18
/** For one schema, and for a registry that does not answer at all. */
const retryMsMin = 100
const retryMsMax = 5_000

/** Records that name the schema of their writer by its id in a registry. Still reads single-object encoding. */
export class ConfluentFormat implements RecordFormat {
  readonly contentType = 'avro/confluent'
  /** From the id of a writer's schema to the fingerprint of its blocks. */
  readonly #foreign = new Map<number, bigint>()
  readonly #refused = new Map<number, { readonly reason: string, readonly untilMs: number }>()
  readonly #learning = new Map<number, Promise<void>>()
  /** Many partitions may wait for as many schemas: one that does not answer is asked by a single probe at a time. */
  readonly circuit: CircuitBreaker

  /**
   * Registers the schema of each stream as that of the values of its topic.
   *
   * @param health told of schemas that can't be had, as long as somebody waits for them
   * @throws Error in words when the registry does not answer, or finds one incompatible
   */
  static async open (
    registry: SchemaRegistry, topicPrefix: string, streams: ReadonlyArray<RecordStream<any>>, health = nobodyWatches
  ): Promise<ConfluentFormat> {
    const ids = new Map<string, number>()
    // One after the other: subjects that come at once with the same schema are a conflict to some registries.
    for (const { name, schema } of streams) {
      if (!ids.has(name)) ids.set(name, await registry.register(`${topicPrefix}.${name}-value`, schema))
    }
    return new ConfluentFormat(registry, ids, health)
  }

  private constructor (
    readonly registry: SchemaRegistry, readonly ids: ReadonlyMap<string, number>, readonly health: Health
  ) {
    const [known = 1] = ids.values()
    this.circuit = new CircuitBreaker({
      dependency: 'schema-registry',
      failuresMax: 1,
      waitMs: retryMsMin,
      waitMsMax: retryMsMax,
      probe: () => registry.schema(known).catch(err => { if (!isAnswer(err)) throw err }),
    })
  }

  close (): void { this.circuit.stop() }

  encode<T> (stream: RecordStream<T>, item: T): Buffer {
    const record = stream.encodeRecord(item)
    const bytes = room(prefixBytes + record.length)
    bytes[0] = 0
    bytes.writeUInt32BE(this.#idOf(stream), 1)
    bytes.set(record, prefixBytes)
    return bytes
  }

  decode<T> (stream: RecordStream<T>, bytes: Uint8Array): T | undefined {
    const id = idIn(bytes)
    if (id === undefined) return singleObjectFormat.decode(stream, bytes)
    if (id === this.#idOf(stream)) return stream.decodeRecord(bytes, prefixBytes)
    const blocks = this.#foreign.get(id)
    if (blocks !== undefined) return decodeForeign(stream, blocks, bytes, prefixBytes)
    throw bad(this.#refused.get(id)?.reason ?? `schema ${id} has not been read from the registry`)
  }

  /** The schema that must be learned before a record of `stream` can be decoded; undefined where it is known. */
  unknownIn (stream: RecordStream<any>, bytes: Uint8Array): number | undefined {
    if (bytes.length < prefixBytes) return undefined
    const id = idIn(bytes)
    if (id === undefined || id === this.#idOf(stream) || this.#foreign.has(id)) return undefined
    const refused = this.#refused.get(id)
    return refused !== undefined && refused.untilMs > Date.now() ? undefined : id
  }

  /** Asks until the registry has answered, or `signal` aborts. Never rejects. */
  async learn (id: number, signal: AbortSignal): Promise<void> {
    const what = `schema ${id}`
    for (let waitMs = retryMsMin; !signal.aborted; waitMs = Math.min(2 * waitMs, retryMsMax)) {
      try {
        await this.circuit.call(() => this.#learnOnce(id), isAnswer)
        break
      } catch (err) {
        this.health.begin('schema-registry', (err as Error).message, what)
      }
      await this.circuit.whenClosed(signal)
      await sleep(waitMs, undefined, { signal }).catch(() => {})
    }
    this.health.end('schema-registry', what)
  }

  /** All partitions that meet a new schema wait for the same answer. */
  #learnOnce (id: number): Promise<void> {
    const learning = this.#learning.get(id) ?? this.registry.schema(id)
      .then(found => { this.#remember(id, found) })
      .finally(() => { this.#learning.delete(id) })
    this.#learning.set(id, learning)
    return learning
  }

  #remember (id: number, found: RegisteredSchema | undefined): void {
    try {
      if (found === undefined) throw bad(`the registry has no schema ${id}`)
      if (this.#foreign.size >= foreignMax) throw bad(`schema ${id}: ${foreignMax} other schemas are in use already`)
      this.#foreign.set(id, register({ type: 'array', items: recordIn(found) }))
      this.#refused.delete(id)
    } catch (err) {
      if (this.#refused.size >= refusedMax) this.#refused.clear()
      const { message } = err as Error
      const reason = err instanceof GatewayError ? message : `schema ${id} is not one of an Avro record: ${message}`
      this.#refused.set(id, { reason, untilMs: Date.now() + refusedMs })
    }
  }

  #idOf ({ name }: Stream<any>): number {
    const id = this.ids.get(name)
    if (id === undefined) throw new RangeError(`stream ${name}: its schema was not registered`)
    return id
  }
}

/** An error that says that the registry is there. */
function isAnswer (err: unknown): boolean { return !(err instanceof RegistryAway) || err.answered }

/** Undefined for a record of another format. */
function idIn (bytes: Uint8Array): number | undefined {
  if (bytes[0] !== 0) return undefined
  if (bytes.length < prefixBytes) throw bad(`${bytes.length} bytes, too few for the id of a schema`)
  return new DataView(bytes.buffer, bytes.byteOffset, prefixBytes).getUint32(1)
}

/** Avro compares records by name alone, avsc by namespace too: theirs is read as if it were in ours. */
function recordIn ({ text, schemaType }: RegisteredSchema): AvroSchema {
  if (schemaType !== 'AVRO') throw new Error(`it is ${schemaType}`)
  if (text.length > schemaCharsMax) throw new Error(`it has ${text.length} characters`)
  const schema = JSON.parse(text)
  if (schema?.type !== 'record') throw new Error('it is not a record')
  return { ...schema, name: String(schema.name).replace(/^.*\./, ''), namespace: 'ledgerline' }
}

/** A record whose schema has to be asked for first. */
class Undecoded {
  constructor (readonly bytes: Uint8Array, readonly schemaId: number) {}
}

/**
 * `log`, whose format is `format`, with records of writers whose schemas are not known yet: their partition waits until
 * the registry has told, for as long as it takes.
 */
export class RegistryLog implements EventLog {
  readonly #closing = new AbortController()

  constructor (readonly log: EventLog & Pick<KafkaLog, 'setAside'>, readonly format: ConfluentFormat) {}

  partitions (stream: Stream<any>): number { return this.log.partitions(stream) }
  bounds (stream: Stream<any>, partition: number) { return this.log.bounds(stream, partition) }
  offsetAt (stream: Stream<any>, partition: number, atMs: number) { return this.log.offsetAt(stream, partition, atMs) }
  derivedFrom (stream: Stream<any>, partition: number) { return this.log.derivedFrom(stream, partition) }
  health () { return this.log.health() }

  append<T> (stream: Stream<T>, partition: number, items: readonly T[], options?: AppendOptions): Promise<Position> {
    return this.log.append(stream, partition, items, options)
  }

  async follow<T> (
    stream: Stream<T>, group: string, follower: Follower<T>, options?: FollowOptions
  ): Promise<Following> {
    if (!isRecordStream(stream)) return await this.log.follow(stream, group, follower, options)
    const leaving = new AbortController()
    const signal = AbortSignal.any([leaving.signal, this.#closing.signal])
    const following = await this.log.follow(this.#deferring(stream), group, {
      assigned: (partition, committed, index) => follower.assigned(partition, committed, index),
      passed: (partition, hole) => { follower.passed?.(partition, hole) },
      leaving: partition => { follower.leaving?.(partition) },
      revoked: partition => follower.revoked(partition),
      received: block => {
        if (!(block.items[0] instanceof Undecoded)) return follower.received(block as Block<T>)
        return this.#decoded(stream, block, block.items[0], signal).then(items => {
          if (items.length > 0) return follower.received({ ...block, items })
        })
      },
    }, options)
    return {
      commit: (partition, next) => { following.commit(partition, next) },
      keep: (partition, place) => following.keep(partition, place),
      reassign: partition => following.reassign(partition),
      stop () {
        leaving.abort() // else it would wait for the registry before it gives its partitions back
        return following.stop()
      },
    }
  }

  async * read<T> (stream: Stream<T>, partition: number, range: ReadRange): AsyncGenerator<Block<T>> {
    if (!isRecordStream(stream)) return yield * this.log.read(stream, partition, range)
    const signal = range.signal ? AbortSignal.any([range.signal, this.#closing.signal]) : this.#closing.signal
    for await (const block of this.log.read(this.#deferring(stream), partition, range)) {
      const first = block.items[0]
      const items = first instanceof Undecoded ? await this.#decoded(stream, block, first, signal) : block.items as T[]
      if (signal.aborted) return
      if (items.length > 0) yield { ...block, items }
    }
  }

  close (): Promise<void> {
    this.#closing.abort()
    this.format.close()
    return this.log.close()
  }

  /** The stream as one that the log decodes at once, where need be to something undecoded. */
  #deferring<T> (stream: RecordStream<T>): Stream<T | Undecoded> {
    const decode = decoderOf(stream, this.format)
    return {
      ...stream as RecordStream<any>,
      blocks: true,
      decodeBlock: bytes => {
        const schemaId = this.format.unknownIn(stream, bytes)
        return schemaId === undefined ? [...decode(bytes)] : [new Undecoded(bytes, schemaId)]
      },
    }
  }

  /** Nothing where the record is set aside, or `signal` aborts. Never rejects. */
  async #decoded<T> (
    stream: RecordStream<T>, { partition, offset }: Block<any>, { bytes, schemaId }: Undecoded, signal: AbortSignal
  ): Promise<readonly T[]> {
    await this.format.learn(schemaId, signal)
    if (signal.aborted) return []
    try {
      return decoderOf(stream, this.format)(bytes)
    } catch (err) {
      this.log.setAside.add(stream, partition, offset, bytes, (err as Error).message)
      return []
    }
  }
}

function bad (reason: string): GatewayError { return new GatewayError('bad-record', reason) }
