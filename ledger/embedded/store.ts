import { statfsSync } from 'node:fs'
import { join } from 'node:path'
import { open as openLmdb, type RootDatabase } from 'lmdb'
import { GatewayError } from '../../schemas/errors.js'
import { Batch, derivedBytes, pageBytes, type WriteBatch } from './batch.js'
import { claimDirectory, claimExclusively, releaseDirectory, stampFormat } from './directory.js'
import { Headroom } from './headroom.js'

/**
 * The LMDB environment in the data directory, and the one commit loop that everything embedded shares: streams, tables
 * and snapshots say that they have something to write; the store asks them for it when a commit begins and tells them
 * when it is on the disk. At most one commit is in flight; what arrives meanwhile is the next one.
 */
export interface Store {
  /** For reads. Writes go through a `Writer`. */
  readonly env: RootDatabase<Buffer, Buffer>
  /** Takes part in every commit from now on, in order of registration. */
  register (writer: Writer): void
  /** Asks for a commit. A lazy request waits for one of somebody else's, at most `lazyCommitMs`. */
  request (lazy: boolean): void
  /** Resolves when all that was requested before is durable or has failed. */
  settled (): Promise<void>
  /** False while commits fail or lack room; tried again every `probeMs` and with every request. */
  health (): { ok: boolean, reason: string }
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
  /** Puts what it has into the commit that begins now. May leave something for the next one by requesting it. */
  write (batch: WriteBatch): void
  /** All of it is on the disk. */
  committed (): void
  /** None of it is. */
  failed (err: GatewayError): void
  /** It will not be asked again: whatever still waits has failed. */
  givenUp? (err: GatewayError): void
}

export interface StoreMetrics {
  commits: number
  commitsFailed: number
  /** Moving average of how long a commit takes. */
  commitMs: number
}

export interface StoreOptions {
  /** The data directory. Created with mode 0700 where there is none. */
  readonly directory: string
  /** How long a lazy write may wait for a commit of somebody else's. */
  readonly lazyCommitMs?: number
  /** `async`, the default, leaves a commit to a thread; `sync` keeps the event loop until the disk has it. */
  readonly commits?: 'sync' | 'async'
  /** How far the data file is kept ahead of what it holds. */
  readonly headroomBytes?: number
  /** Names that may stand in the directory beside ours, before the store was first opened there. */
  readonly neighbours?: readonly string[]
}

const mapBytes = 2 ** 40 // address space, not memory; a map that never grows is never mapped anew
const probeMs = 500
const averageOver = 32
/** One huge append that finds no room keeps others waiting for no more than this. */
const refusedBytesMax = 1 << 22
const headroomEveryBytes = 1 << 20
const headroomEveryCommits = 64

/**
 * @throws StoreError when the directory can not be used: in use by another process, not ours, of a newer format, not
 * writable, or its data file is damaged
 */
export async function openStore (options: StoreOptions): Promise<Store> {
  const path = claimDirectory(options.directory, options.neighbours ?? [])
  try {
    const env = await claimExclusively(path, () => openEnvironment(path))
    try {
      stampFormat(path)
    } catch (err) {
      await env.close()
      throw err
    }
    const headroom = await Headroom.open(join(path, 'data.mdb'), () => usedBytes(env), options.headroomBytes ?? 16 << 20)
    return new EmbeddedStore(env, path, headroom, options)
  } catch (err) {
    releaseDirectory(path)
    throw err
  }
}

/** @param path of a directory that is claimed */
export function openEnvironment (path: string, { readOnly = false } = {}): RootDatabase<Buffer, Buffer> {
  // Without overlappingSync a commit is LMDB's own: pages, fdatasync, then the meta page through O_DSYNC.
  return openLmdb<Buffer, Buffer>({
    path,
    readOnly,
    noSubdir: false, // or lmdb takes a directory with a dot in its name for a file
    pageSize: pageBytes,
    encoding: 'binary',
    keyEncoding: 'binary',
    overlappingSync: false,
    eventTurnBatching: false,
    mapSize: mapBytes,
    maxReaders: 32,
    noMemInit: true,
    permissionsMode: 0o600,
  } as Parameters<typeof openLmdb>[0]) as RootDatabase<Buffer, Buffer>
}

class EmbeddedStore implements Store {
  readonly metrics: StoreMetrics = { commits: 0, commitsFailed: 0, commitMs: 0 }
  private readonly derived: Writer[] = []
  private readonly others: Writer[] = []
  private readonly closeTasks: Array<() => Promise<void>> = []
  private readonly batch: Batch
  private readonly lazyCommitMs: number
  private immediate: NodeJS.Immediate | undefined
  private timer: NodeJS.Timeout | undefined
  private probe: NodeJS.Timeout | undefined
  private committing = false
  private bytesSinceKept = 0
  /** Something was requested since the commit in flight collected its writes; urgent: not only lazily. */
  private requested = false
  private urgent = false
  private waiting: Array<() => void> = []
  private failure: GatewayError | undefined
  /** What derived writes, and the others, want and the file does not have; 0 where they lack nothing. */
  private readonly short = { derived: 0, others: 0 }
  /** The disk was asked for it and has no room. */
  private full = false
  /** The commit under way has what derived writers gave it. */
  private hasDerived = false
  private isStopping = false
  private state: 'open' | 'closing' | 'closed' = 'open'
  private closing: Promise<void> | undefined
  private readonly commitTurn = (): void => { this.immediate = undefined; this.commit() }
  /** Returns nothing on purpose: lmdb would wait for a promise, and every `put` returns one, before it commits. */
  private readonly replay = (): void => { this.batch.replay() }

  constructor (
    readonly env: RootDatabase<Buffer, Buffer>,
    private readonly path: string,
    private readonly headroom: Headroom,
    private readonly options: StoreOptions
  ) {
    this.batch = new Batch(env)
    cutChain(env)
    this.lazyCommitMs = options.lazyCommitMs ?? 20
  }

  register (writer: Writer): void { (writer.derived ? this.derived : this.others).push(writer) }

  onClose (task: () => Promise<void>): void { this.closeTasks.push(task) }

  health (): { ok: boolean, reason: string } {
    if (this.state !== 'open') return { ok: false, reason: 'the store is closed' }
    const failure = this.full ? noRoom() : this.failure
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
    this.isStopping = true
    this.request(false)
  }

  close (): Promise<void> {
    this.closing ??= this.closeOnce()
    return this.closing
  }

  private async closeOnce (): Promise<void> {
    for (const task of this.closeTasks.reverse()) await task()
    await this.settled()
    this.state = 'closing'
    this.unschedule()
    clearTimeout(this.probe)
    await this.headroom.close()
    await this.env.close()
    this.state = 'closed'
    this.giveUp([...this.derived, ...this.others], new GatewayError('ledger-unavailable', 'the store is closed'))
    releaseDirectory(this.path)
  }

  /** In the check phase, after every socket that is readable in this turn was read: what they append is one commit. */
  private schedule (): void {
    if (this.urgent) this.immediate ??= setImmediate(this.commitTurn)
    else this.timer ??= setTimeout(this.commitTurn, this.failure ? probeMs : this.lazyCommitMs)
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
    const startedMs = performance.now()
    let derived: number
    try {
      derived = this.collect()
    } catch (err) {
      this.finish(startedMs, waiting, err)
      return
    }
    // After a refusal all wait for as much room, or some of a client's uplinks would find it, and leave gaps.
    const bytes = Math.max(this.batch.pageBytes, this.short.others)
    if (this.headroom.has(bytes)) {
      this.write(startedMs, waiting)
      return
    }
    this.headroom.reach(bytes).then(hasRoom => {
      if (hasRoom) {
        this.write(startedMs, waiting)
        return
      }
      if (derived > 0) this.short.derived = bytes // the others shall go without it
      if (bytes > derived) this.short.others = Math.min(bytes - derived, refusedBytesMax)
      this.full = true
      this.finish(startedMs, waiting, noRoom())
    })
  }

  /** Everybody's writes, but derived ones that do not fit. @returns page bytes of the derived ones */
  private collect (): number {
    const { batch } = this
    batch.start()
    for (const writer of this.others) writer.write(batch)
    this.hasDerived = false
    if (this.short.derived > 0) {
      if (this.isStopping) this.giveUp(this.derived, noRoom())
      return 0
    }
    const others = batch.mark()
    const each = others.pageBytes > 0 ? Math.max(derivedBytes.busy, others.pageBytes / 2) : derivedBytes.idle
    for (const writer of this.derived) {
      batch.derivedEnd = batch.pageBytes + each
      writer.write(batch)
    }
    const bytes = batch.pageBytes - others.pageBytes
    this.hasDerived = this.headroom.has(bytes)
    if (this.hasDerived) return bytes
    for (const writer of this.derived) writer.failed(noRoom())
    this.short.derived = bytes
    batch.cutBack(others)
    this.findRoom()
    return 0
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
    this.metrics.commitMs += (performance.now() - startedMs - this.metrics.commitMs) / averageOver
    this.metrics.commits++
    this.committing = false
    this.bytesSinceKept += this.batch.bytes
    if (this.bytesSinceKept > headroomEveryBytes || this.metrics.commits % headroomEveryCommits === 0) {
      this.bytesSinceKept = 0
      this.headroom.keep()
    }
    if (err === undefined) {
      this.failure = undefined
      // Those who were left out have nothing to go on with: each would ask for the next commit, and so for ever.
      if (this.hasDerived) for (const writer of this.derived) writer.committed()
      for (const writer of this.others) writer.committed()
    } else {
      this.metrics.commitsFailed++
      this.fail(err)
    }
    for (const resolve of waiting) resolve()
    if (this.requested || this.waiting.length > 0) {
      if (this.waiting.length > 0) this.urgent = true
      this.schedule()
    }
  }

  private fail (err: unknown): void {
    if (err instanceof GatewayError) {
      this.failure = err
    } else {
      // LMDB reports a page that fits only in part as an input/output error.
      const text = diskFull(this.path) ? 'the disk is full' : err instanceof Error ? err.message : String(err)
      this.failure = new GatewayError('ledger-unavailable', `the local store can not be written: ${text}`, { cause: err })
    }
    for (const writer of this.derived) writer.failed(this.failure)
    for (const writer of this.others) writer.failed(this.failure)
    if (this.isStopping) this.giveUp(this.derived, this.failure)
    this.probeLater()
  }

  private giveUp (writers: readonly Writer[], err: GatewayError): void {
    for (const writer of writers) writer.givenUp?.(err)
  }

  /** Nobody appends to a store that refuses, so it finds out by itself that there is space again. */
  private probeLater (): void {
    clearTimeout(this.probe)
    this.probe = setTimeout(() => {
      if (this.state !== 'open') return
      if (this.short.derived > 0 || this.short.others > 0) this.findRoom()
      else if (this.failure) this.request(false)
    }, probeMs)
    this.probe.unref()
  }

  /** Asks the disk for what is lacking, and whoever lacked it for their writes where it has that. */
  private findRoom (): void {
    this.roomFor(this.short.derived).then(async hasRoom => {
      if (hasRoom) this.short.derived = 0
      if (await this.roomFor(this.short.others)) this.short.others = 0
      this.full = this.short.derived > 0 || this.short.others > 0
      if (this.full) this.probeLater()
      if (hasRoom || this.failure || this.isStopping) this.request(false)
    })
  }

  private async roomFor (bytes: number): Promise<boolean> { return bytes === 0 || await this.headroom.reach(bytes) }
}

function noRoom (): GatewayError {
  return new GatewayError('ledger-unavailable', 'the local store can not be written: the disk is full')
}

/**
 * lmdb keeps what is known of each write in a list, and each such object holds the next one when it is long out of the
 * list. Once V8 takes one of them for old, its collections of the young generation find all that come after it alive:
 * every commit then leaves garbage that only a collection of everything removes
 * (docs/decisions/0013-promoted-garbage.md).
 */
function cutChain (env: RootDatabase<Buffer, Buffer>): void {
  let passed: Link | undefined
  env.on('aftercommit', ({ next }: { next: Link }) => {
    if (passed !== undefined && passed !== next) passed.next = passed.nextTxn = null
    passed = next
  })
}

/** The first write of a transaction. */
interface Link { next: unknown, nextTxn?: unknown }

/** lmdb rejects a put with "see commitError", a promise that rejects with the reason. */
async function reasonOf (err: unknown): Promise<unknown> {
  try {
    await (err as { commitError?: Promise<unknown> }).commitError
    return err
  } catch (reason) {
    return reason
  }
}

function diskFull (path: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(path)
    return bavail * bsize < 1 << 20
  } catch {
    return false
  }
}

/** The native environment knows; `getStats` would walk the list of free pages as well. */
function usedBytes (env: RootDatabase<Buffer, Buffer>): number {
  const { lastPageNumber } = (env as unknown as { env: { info (): { lastPageNumber: number } } }).env.info()
  return (lastPageNumber + 1) * pageBytes
}
