import {
  accessSync, chmodSync, closeSync, constants, existsSync, fsyncSync, mkdirSync, openSync, readdirSync,
  readFileSync, readSync, realpathSync, renameSync, statSync, writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { LmdbEnvironment } from './environment.js'

/** The data directory can not be used; the message says which file, what was found and what is wanted. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  constructor (
    readonly code: 'in-use' | 'absent' | 'not-ours' | 'newer-format' | 'not-writable' | 'damaged' | 'partitions-differ' |
    'no-room',
    message: string,
    options?: { cause?: unknown }
  ) {
    super(message, options)
  }
}

/**
 * Raised when an older build would misread what this one writes. Format 2 has saved states in parts: a build that knows
 * 1 alone takes their heads for whole states. Format 3 has other keys for parts, under which a build that knows 2 alone
 * does not look.
 */
const format = 3
export const formatFile = 'ledgerline.json'
const stampText = JSON.stringify({ program: 'ledgerline', format }) + '\n'

/** Directories that this process has open: LMDB's locks tell processes apart, not two opens within one. */
const claimed = new Set<string>()

/**
 * Checks everything that can be checked without mapping the data file, and marks the directory as ours.
 *
 * @returns its real path, to be given back with `releaseDirectory`
 * @throws StoreError
 */
export function claimDirectory (directory: string, neighbours: readonly string[]): string {
  const path = created(directory)
  if (claimed.has(path)) throw new StoreError('in-use', `${path}: is open in this process already`)
  const stamp = join(path, formatFile)
  if (existsSync(stamp)) {
    checkFormat(stamp)
    checkDataFile(join(path, 'data.mdb'))
  } else {
    // Also what a crash while the format was written left: its name with something behind it.
    const allowed = new Set(['lock.mdb', 'lost+found', ...neighbours])
    const foreign = readdirSync(path).filter(name => !allowed.has(name) && !name.startsWith(formatFile))
    if (foreign.length > 0) {
      throw new StoreError('not-ours', `${path}: got a directory with ${foreign.slice(0, 3).join(', ')} in it and no ` +
        `${formatFile}, want an empty one or one of Ledgerline's own`)
    }
    writeDurably(path, formatFile, stampText)
  }
  claimed.add(path)
  return path
}

/**
 * Marks a directory of an older format as one of this one, before the first thing is written that an older build would
 * misread. For who has it exclusively: the build that made it may still be running.
 *
 * @throws StoreError `not-writable`, such as on a full disk: what is there is as it was
 */
export function stampFormat (path: string): void {
  const stamp = join(path, formatFile)
  const { format: found } = JSON.parse(readFileSync(stamp, 'utf8'))
  if (found === format) return
  try {
    writeDurably(path, formatFile, stampText)
  } catch (err) {
    throw new StoreError('not-writable', `${stamp}: format ${format} can not be noted there (${(err as Error).message})`,
      { cause: err })
  }
}

/**
 * As `claimDirectory` for who only reads: makes nothing and changes nothing.
 *
 * @throws StoreError, `absent` where there is no data directory
 */
export function claimToRead (directory: string): string {
  const stamp = join(directory, formatFile)
  if (!existsSync(stamp)) throw new StoreError('absent', `${directory}: got no ${formatFile} in it, want a data directory`)
  const path = realpathSync(directory)
  if (claimed.has(path)) throw new StoreError('in-use', `${path}: is open in this process already`)
  checkFormat(stamp)
  checkDataFile(join(path, 'data.mdb'))
  claimed.add(path)
  return path
}

export function releaseDirectory (path: string): void { claimed.delete(path) }

function created (directory: string): string {
  try {
    makeDirectories(resolve(directory))
    const path = realpathSync(directory)
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK)
    if (readdirSync(path).length === 0) chmodSync(path, 0o700) // so far nobody's, and now ours
    return path
  } catch (err) {
    throw new StoreError('not-writable', `${directory}: want a directory that can be written (${(err as Error).message})`,
      { cause: err })
  }
}

/** One by one: on a file system that takes none, as /proc, Node's own recursive way never ends. */
function makeDirectories (path: string): void {
  if (existsSync(path)) return
  makeDirectories(dirname(path))
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'EEXIST') throw err
  }
}

function checkFormat (stamp: string): void {
  let found: unknown
  try {
    found = JSON.parse(readFileSync(stamp, 'utf8')).format
  } catch (err) {
    throw new StoreError('not-ours', `${stamp}: can not be read as the format of a data directory`, { cause: err })
  }
  if (typeof found !== 'number' || found < 1) {
    throw new StoreError('not-ours', `${stamp}: got format ${JSON.stringify(found)}, want a number up to ${format}`)
  }
  if (found > format) {
    throw new StoreError('newer-format', `${stamp}: got format ${found}, want at most ${format}; ` +
      'a newer Ledgerline wrote this directory, so start that one')
  }
}

/*
  Pages 0 and 1 of data.mdb, as lmdb's LMDB 0.9.90 lays them out on 64-bit machines, all little-endian:

    META => HEADER magic:uint32 version:uint32 address:uint64 mapSize:uint64 FREE MAIN lastPage:uint64 txnId:uint64
      HEADER     => 24 bytes
      FREE, MAIN => 48 bytes each; FREE begins with the page size:uint32
*/
const metaMagic = 0xbeefc0de

/** A map of a file that is shorter than its meta page says kills the process with SIGBUS, at a later read. */
function checkDataFile (file: string): void {
  if (!existsSync(file) || statSync(file).size === 0) return
  const { size } = statSync(file)
  const head = Buffer.alloc(4096)
  const fd = openSync(file, 'r')
  try {
    const read = readSync(fd, head, 0, head.length, 0)
    if (read < head.length || head.readUInt32LE(24) !== metaMagic) {
      throw new StoreError('damaged', `${file}: got ${size} bytes without an LMDB meta page, want the data file; ` +
        'restore it from a backup')
    }
    const pageBytes = head.readUInt32LE(48)
    const wanted = [0, pageBytes].map(page => {
      const meta = Buffer.alloc(256)
      readSync(fd, meta, 0, meta.length, page)
      return { txnId: meta.readBigUInt64LE(152), bytes: (Number(meta.readBigUInt64LE(144)) + 1) * pageBytes }
    }).reduce((a, b) => a.txnId >= b.txnId ? a : b).bytes
    if (size < wanted) {
      throw new StoreError('damaged', `${file}: got ${size} bytes, want at least ${wanted}; the file was cut off, ` +
        'so restore it from a backup')
    }
  } finally {
    closeSync(fd)
  }
}

/**
 * Opens the environment and makes sure that this process alone has it. Every process that has it open holds a slot in
 * LMDB's reader table, and for the slot a lock of the operating system on the lock file, which ends with the process
 * however it ends, and which is seen across containers that share the directory. Of two processes that open at the same
 * time each sees the other; both step back for a random while, so that one of them gets it.
 */
export async function claimExclusively (
  path: string, open: () => LmdbEnvironment
): Promise<LmdbEnvironment> {
  for (let attempt = 1; ; attempt++) {
    let env: LmdbEnvironment
    try {
      env = open()
    } catch (err) {
      throw new StoreError('damaged', `${join(path, 'data.mdb')}: can not be opened: ${(err as Error).message}`,
        { cause: err })
    }
    const holder = otherHolder(env)
    if (holder === undefined) return env
    await env.close()
    if (attempt === attemptsMax) {
      throw new StoreError('in-use', `${path}: is in use by process ${holder}; one process at a time may have it`)
    }
    await sleep(20 + Math.random() * 100 * attempt)
  }
}

const attemptsMax = 4

/** @returns its process id, as it is in its own container */
function otherHolder (env: LmdbEnvironment): number | undefined {
  env.readerCheck() // frees the slots of processes that are gone
  // We have no slot yet: one with our own process id belongs to a process of another container.
  const [holder] = readersOf(env)
  if (holder !== undefined) return holder
  try {
    env.getBinary(Buffer.from([0])) // takes our slot
  } catch {
    return process.pid // that process came in between, and has the lock that goes with our process id
  }
  return readersOf(env).find(pid => pid !== process.pid)
}

function readersOf (env: LmdbEnvironment): number[] {
  return [...env.readerList().matchAll(/^\s*(\d+) [0-9a-f]+ /gm)].map(([, pid]) => Number(pid))
}

function writeDurably (path: string, name: string, text: string): void {
  const temporary = join(path, `${name}.${process.pid}`)
  writeFileSync(temporary, text, { mode: 0o600, flush: true })
  renameSync(temporary, join(path, name))
  const fd = openSync(path, 'r')
  fsyncSync(fd)
  closeSync(fd)
}
