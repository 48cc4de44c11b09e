import { statfsSync } from 'node:fs'
import { join } from 'node:path'
import { open as openLmdb, type RootDatabase } from 'lmdb'
import { GatewayError } from '../../schemas/errors.js'
import { Batch, type WriteBatch } from './batch.js'
import { claimDirectory, claimExclusively, releaseDirectory } from './directory.js'
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
  /** False while commits fail; tried again every `probeMs` and with every request. */
  health (): { ok: boolean, reason: string }
  /** Runs `task` before the environment closes; last registered, first run. */
  onClose (task: () => Promise<void>): void
  close (): Promise<void>
  readonly metrics: StoreMetrics
}

/** Somebody with something to write. */
export interface Writer {
  /** Puts what it has into the commit that begins now. May leave something for the next one by requesting it. */
  write (batch: WriteBatch): void
  /** All of it is on the disk. */
  committed (): void
  /** None of it is. */
  failed (err: GatewayError): void
  /** There will be no more commits: whatever still waits has failed. */
  closed? (err: GatewayError): void
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
const pageBytes = 4096
const probeMs = 500
const averageOver = 32
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
  private readonly writers: Writer[] = []
  private readonly closeTasks: Array<() => Promise<void>> = []
  private readonly batch: Batch
  private readonly lazyCommitMs: number
  private immediate: NodeJS.Immediate | undefined
  private timer: NodeJS.Timeout | undefined
  private probe: NodeJS.Timeout | undefined
  private committing = false
  private bytesSinceKept = 0
  private largestBytes = 0
  /** Something was requested since the commit in flight collected its writes; urgent: not only lazily. */
  private requested = false
  private urgent = false
  private waiting: Array<() => void> = []
  private failure: GatewayError | undefined
  private state: 'open' | 'closing' | 'closed' = 'open'
  private closing: Promise<void> | undefined
  private readonly commitTurn = (): void => { this.immediate = undefined; this.commit() }
  /** Returns nothing on purpose: lmdb would wait for a promise, and every `put` returns one, before it commits. */
  private readonly collect = (): void => { for (const writer of this.writers) writer.write(this.batch) }
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

  register (writer: Writer): void { this.writers.push(writer) }

  onClose (task: () => Promise<void>): void { this.closeTasks.push(task) }

  health (): { ok: boolean, reason: string } {
    if (this.state !== 'open') return { ok: false, reason: 'the store is closed' }
    return this.failure ? { ok: false, reason: this.failure.message } : { ok: true, reason: '' }
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
    const err = new GatewayError('ledger-unavailable', 'the store is closed')
    for (const writer of this.writers) writer.closed?.(err)
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
    if (this.headroom.isShort(this.largestBytes)) {
      this.headroom.keep().catch(() => {})
      this.batch.start(false)
      this.finish(startedMs, waiting, new Error('no space left'))
      return
    }
    const onLoop = this.options.commits === 'sync'
    this.batch.start(!onLoop)
    try {
      if (onLoop) this.env.transactionSync(this.collect)
      else this.collect()
    } catch (err) {
      this.finish(startedMs, waiting, err)
      return
    }
    if (onLoop) {
      this.finish(startedMs, waiting)
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
    if (this.batch.bytes > this.largestBytes) this.largestBytes = this.batch.bytes
    if (this.bytesSinceKept > headroomEveryBytes || this.metrics.commits % headroomEveryCommits === 0) {
      this.bytesSinceKept = 0
      this.headroom.keep().catch(() => {})
    }
    if (err === undefined) {
      this.failure = undefined
      for (const writer of this.writers) writer.committed()
    } else {
      this.metrics.commitsFailed++
      // LMDB reports a page that fits only in part as an input/output error.
      const text = diskFull(this.path) ? 'the disk is full' : err instanceof Error ? err.message : String(err)
      this.failure = new GatewayError('ledger-unavailable', `the local store can not be written: ${text}`, { cause: err })
      for (const writer of this.writers) writer.failed(this.failure)
      this.probeLater()
    }
    for (const resolve of waiting) resolve()
    if (this.requested || this.waiting.length > 0) {
      if (this.waiting.length > 0) this.urgent = true
      this.schedule()
    }
  }

  /** Nobody appends to a store that refuses, so it finds out by itself that there is space again. */
  private probeLater (): void {
    clearTimeout(this.probe)
    this.probe = setTimeout(() => { if (this.failure && this.state === 'open') this.request(false) }, probeMs)
    this.probe.unref()
  }
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
