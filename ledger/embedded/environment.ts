import { statfsSync } from 'node:fs'
import { open as openLmdb, type RootDatabase } from 'lmdb'
import { pageBytes } from './batch.js'

/* What has to be known of lmdb to use it as the store does. */

/** As much of an LMDB environment as the store uses: one table of binary keys and values, in the order of its keys. */
export interface Environment {
  /** The caller's own copy. */
  getBinary (key: Buffer): Buffer | undefined
  /** The first `lastSize` bytes of a buffer that the next read overwrites. */
  getBinaryFast (key: Buffer): Buffer | undefined
  /** Of what `getBinaryFast` found last. */
  readonly lastSize: number
  /** As they are at the call, whatever is committed until the last one is taken. */
  getKeys (range: KeyRange): Iterable<Buffer>
  getRange (range: KeyRange): Iterable<{ readonly key: Buffer, readonly value: Buffer }>
  /** Within `batch` and `transactionSync`. */
  put (key: Buffer, value: Buffer): unknown
  remove (key: Buffer): unknown
  /** Commits what `work` puts and removes, all of it or nothing; values must stay as they are until it resolves. */
  batch (work: () => void): Promise<unknown>
  transactionSync (work: () => void): unknown
  close (): Promise<void>
}

export interface KeyRange {
  readonly start: Buffer
  /** The first key that is left out; in the other direction the last one that may come, with `inclusiveEnd`. */
  readonly end: Buffer
  readonly inclusiveEnd?: boolean
  readonly reverse?: boolean
  readonly limit?: number
}

export type LmdbEnvironment = RootDatabase<Buffer, Buffer> & Pick<Environment, 'lastSize'>

const mapBytes = 2 ** 40 // address space, not memory; a map that never grows is never mapped anew
/** At the start of the file. */
const metaPages = 2

/** @param path of a directory that is claimed */
export function openEnvironment (path: string, { readOnly = false } = {}): LmdbEnvironment {
  // Without overlappingSync a commit is LMDB's own: pages, fdatasync, then the meta page through O_DSYNC.
  const env = openLmdb<Buffer, Buffer>({
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
  } as Parameters<typeof openLmdb>[0]) as LmdbEnvironment
  if (!readOnly) cutChain(env)
  return env
}

/** Of the data file: up to the last page that was ever used. 1 us. */
export function usedBytes (env: LmdbEnvironment): number {
  const { lastPageNumber } = (env as unknown as { env: { info (): { lastPageNumber: number } } }).env.info()
  return (lastPageNumber + 1) * pageBytes
}

/** Of them, what is in pages that nothing uses any more. 11 us. The next but one commit uses those of the last one. */
export function freeBytes (env: LmdbEnvironment): number {
  const { lastPageNumber, root, free } = env.getStats() as Stats
  return (lastPageNumber + 1 - metaPages - pagesOf(root) - pagesOf(free)) * pageBytes
}

interface Stats { readonly lastPageNumber: number, readonly root: PageCounts, readonly free: PageCounts }

interface PageCounts {
  readonly treeBranchPageCount: number
  readonly treeLeafPageCount: number
  readonly overflowPages: number
}

function pagesOf ({ treeBranchPageCount, treeLeafPageCount, overflowPages }: PageCounts): number {
  return treeBranchPageCount + treeLeafPageCount + overflowPages
}

/** lmdb rejects a put with "see commitError", a promise that rejects with the reason. */
export async function reasonOf (err: unknown): Promise<unknown> {
  try {
    await (err as { commitError?: Promise<unknown> }).commitError
    return err
  } catch (reason) {
    return reason
  }
}

/** Why a commit failed. LMDB reports a page that fits only in part as an input/output error. */
export function textOf (err: unknown, path: string): string {
  if (diskFull(path)) return 'the disk is full'
  return err instanceof Error ? err.message : String(err)
}

function diskFull (path: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(path)
    return bavail * bsize < 1 << 20
  } catch {
    return false
  }
}

/**
 * lmdb keeps what is known of each write in a list, and each such object holds the next one when it is long out of the
 * list. Once V8 takes one of them for old, its collections of the young generation find all that come after it alive:
 * every commit then leaves garbage that only a collection of everything removes
 * (docs/decisions/0013-promoted-garbage.md).
 */
function cutChain (env: LmdbEnvironment): void {
  let passed: Link | undefined
  env.on('aftercommit', ({ next }: { next: Link }) => {
    if (passed !== undefined && passed !== next) passed.next = passed.nextTxn = null
    passed = next
  })
}

/** The first write of a transaction. */
interface Link { next: unknown, nextTxn?: unknown }
