import { setImmediate as turn } from 'node:timers/promises'
import { downlinksRejected, type Stream } from '../../schemas/streams.js'
import { FrameBuffer } from '../frames.js'
import type { Block, FramesRange, Hole, LogReader, ReadRange, StoredBlocks } from '../log.js'
import { isRejectedStream } from '../rejected.js'
import { Catalog, type CatalogEntry } from './catalog.js'
import type { Environment } from './environment.js'
import { KeySearch, kept } from './key-search.js'
import { PartitionLog, type PartitionDeps } from './partition.js'
import { offsetAt } from './stored-times.js'

export interface StreamsDeps extends Omit<PartitionDeps, 'env'> {
  /** Partitions of a stream that is not in the store. */
  partitionsOf (name: string): number
  /** A stream was asked for, for the first time. */
  opened (log: PartitionLog): void
  /** Ends every read. */
  readonly closing: AbortSignal
  /** The clock that stamps blocks, ms since 1970. */
  now (): number
}

export interface OpenedStream {
  readonly entry: CatalogEntry
  readonly logs: readonly PartitionLog[]
}

/** How long a reader may keep the event loop; and one that collects frames, who shares it with live traffic. */
const turnMs = 4
const framesTurnMs = 0.3

/** The streams of one store, as far as reading them goes. */
export class Streams implements LogReader, StoredBlocks {
  readonly catalog: Catalog
  private readonly opened = new Map<string, OpenedStream>()

  /** @throws StoreError `damaged` */
  constructor (private readonly env: Environment, private readonly deps: StreamsDeps) {
    this.catalog = new Catalog(env)
  }

  partitions (stream: Stream<any>): number { return this.of(stream).logs.length }

  read<T> (stream: Stream<T>, partition: number, range: ReadRange): AsyncGenerator<Block<T>> {
    return this.blocks(this.logOf(stream, partition), range) as AsyncGenerator<Block<T>>
  }

  async * readFrames (
    stream: Stream<any>, partition: number, { from, to, key }: FramesRange
  ): AsyncGenerator<Buffer> {
    const log = this.logOf(stream, partition)
    const { closing } = this.deps
    const end = Math.min(Number(to), log.next)
    const frames = new FrameBuffer()
    let gone: bigint | undefined
    const passed = ({ to }: Hole) => { gone = to }
    const search = key === undefined ? undefined : new KeySearch(log, key, () => closing.aborted, passed)
    let untilMs = performance.now() + framesTurnMs
    try {
      for (let at = Number(from); at < end && !closing.aborted;) {
        at = search ? await search.find(at, end) : kept(log, at, end, passed)
        if (gone !== undefined && !frames.addHole(gone)) {
          yield frames.take()
          frames.addHole(gone)
        }
        gone = undefined
        const stored = at < end ? log.readNextStored(at) : undefined
        if (stored === undefined || stored.offset >= end) break
        const added = frames.add(BigInt(stored.offset), stored.body)
        at = added ? stored.offset + 1 : stored.offset // where there is no room it comes first in the next chunk
        if (added && performance.now() <= untilMs) continue
        yield frames.take()
        untilMs = performance.now() + framesTurnMs
      }
      if (!frames.isEmpty) yield frames.take()
    } finally {
      frames.release()
    }
  }

  async bounds (stream: Stream<any>, partition: number): Promise<{ first: bigint, next: bigint }> {
    const { first, next } = this.logOf(stream, partition)
    return { first: BigInt(first), next: BigInt(next) }
  }

  async offsetAt (stream: Stream<any>, partition: number, atMs: number): Promise<bigint> {
    return BigInt(offsetAt(this.logOf(stream, partition), atMs, this.deps.now()))
  }

  /** @throws RangeError when the stream has no such partition */
  logOf (stream: Stream<any>, partition: number): PartitionLog {
    const { logs } = this.of(stream)
    const log = logs[partition]
    if (!log) throw new RangeError(`stream ${stream.name}: got partition ${partition}, want 0 to ${logs.length - 1}`)
    return log
  }

  of (stream: Stream<any>): OpenedStream {
    const known = this.opened.get(stream.name)
    if (known) return known
    const entry = this.catalog.find(stream.name) ??
      this.catalog.create(stream.name, this.deps.partitionsOf(stream.name))
    const { streamId, partitions } = entry
    const deps = { ...this.deps, env: this.env }
    const logs = Array.from({ length: partitions }, (_, partition) =>
      new PartitionLog(stream, streamId, partition, this.catalog.indexOf(streamId, partition), deps))
    const opened: OpenedStream = { entry, logs }
    this.opened.set(stream.name, opened)
    for (const log of logs) this.deps.opened(log)
    return opened
  }

  /** Undefined where nobody has asked for the stream yet. */
  find (name: string): OpenedStream | undefined { return this.opened.get(name) }

  /** Streams of what was set aside, also those of which nobody has asked in this process. */
  * rejected (): Generator<OpenedStream> {
    for (const name of this.catalog.names()) {
      const stream = { ...downlinksRejected, name }
      if (isRejectedStream(stream)) yield this.of(stream)
    }
  }

  * logs (): Generator<PartitionLog> {
    for (const { logs } of this.opened.values()) yield * logs
  }

  private async * blocks (
    log: PartitionLog, { from, to, signal, key, keys, passed = () => {} }: ReadRange
  ): AsyncGenerator<Block<unknown>> {
    const { closing } = this.deps
    const end = Math.min(to === undefined ? Infinity : Number(to), signal ? Infinity : log.next)
    const stopped = () => closing.aborted || (signal?.aborted ?? false)
    const search = key === undefined ? undefined : new KeySearch(log, key, stopped, passed)
    let at = Number(from)
    let startedMs = performance.now()
    while (at < end && !stopped()) {
      const known = Math.min(end, log.next)
      at = search && at < known ? await search.find(at, known) : kept(log, at, known, passed)
      if (search && stopped()) return
      const block = at >= known ? undefined : keys ? log.readNextOf(at, keys) : log.readNext(at)
      if (block !== undefined) {
        if (block.offset >= end) return
        at = Number(block.offset) + 1
        yield block
      } else {
        at = Math.max(at, known)
        if (at >= end || !signal) return
        if (at < log.next) continue
        await log.arrival(signal)
        startedMs = performance.now()
      }
      if (performance.now() - startedMs > turnMs) {
        await turn()
        startedMs = performance.now()
      }
    }
  }
}
