import { fsyncSync, openSync, closeSync, statfsSync, statSync } from 'node:fs'
import { chmod, copyFile, open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { claimExclusively, claimToRead, formatFile, releaseDirectory, StoreError } from './directory.js'
import { type LmdbEnvironment, openEnvironment, usedBytes } from './environment.js'

/** Where a backup comes from: a data directory that this process has open. */
export interface BackupSource {
  readonly env: LmdbEnvironment
  readonly path: string
}

export interface BackedUp {
  /** Of the data file of the backup. */
  readonly bytes: number
  /** Names of the secrets that went with it. */
  readonly secrets: readonly string[]
}

export interface BackupTold {
  /** How many bytes it may be, at most. */
  started (bytesMax: number): void
  /** How many there are so far. */
  progress (bytes: number): void
}

/** Left for the gateway while the copy is on the disk of the data directory. */
const reserveBytes = 64 << 20
const lookMs = 200
const secretName = /^(jwt-secret|api-key)$/

/**
 * Copies a data directory as it is at one moment, while it goes on, into the directory `to`, which is there and has
 * nothing in it. Pages of the data file that are free are left out. All of it is on the disk when the promise resolves,
 * and `ledgerline.json`, without which it is no data directory, comes last. The copy can not be broken off; what is
 * written meanwhile can not use pages again that were free, so the data file may grow.
 *
 * @throws StoreError `no-room` where the disk has none for it; whatever the file system says
 */
export async function backUp (
  { env, path }: BackupSource, to: string, { withSecrets, told }: { withSecrets: boolean, told: BackupTold }
): Promise<BackedUp> {
  const bytesMax = usedBytes(env)
  checkRoom(path, to, bytesMax)
  told.started(bytesMax)
  const file = join(to, dataFile)
  const looking = setInterval(() => { told.progress(sizeOf(file)) }, lookMs)
  try {
    await env.backup(to, true)
  } finally {
    clearInterval(looking)
  }
  await chmod(file, 0o600)
  await flush(file)
  const bytes = sizeOf(file)
  told.progress(bytes)
  const secrets = withSecrets ? (await readdir(path)).filter(name => secretName.test(name)) : []
  await addFiles(path, to, [...secrets, formatFile])
  return { bytes, secrets }
}

/**
 * The same of a data directory that no process has open.
 *
 * @throws StoreError when it can not be read, or is in use
 */
export async function backUpStopped (
  directory: string, to: string, options: Parameters<typeof backUp>[2]
): Promise<BackedUp> {
  const path = claimToRead(directory)
  try {
    const env = await claimExclusively(path, () => openEnvironment(path, { readOnly: true }))
    try {
      return await backUp({ env, path }, to, options)
    } finally {
      await env.close()
    }
  } finally {
    releaseDirectory(path)
  }
}

/**
 * Copies a backup, which is only read, into the directory `to`, which is there and has nothing in it.
 *
 * @throws StoreError when it is no data directory, is cut off, or the disk has no room for it
 */
export async function restore (directory: string, to: string, told: BackupTold): Promise<BackedUp> {
  const path = claimToRead(directory)
  try {
    const file = join(path, dataFile)
    const { size: bytes } = statSync(file)
    checkRoom(path, to, bytes)
    told.started(bytes)
    await copyDurably(file, join(to, dataFile), told)
    const secrets = (await readdir(path)).filter(name => secretName.test(name))
    await addFiles(path, to, [...secrets, formatFile])
    return { bytes, secrets }
  } finally {
    releaseDirectory(path)
  }
}

/** Makes what was created or renamed in a directory durable. */
export function flushDirectory (path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

const dataFile = 'data.mdb'
const pieceBytes = 1 << 22

async function copyDurably (from: string, to: string, told: BackupTold): Promise<void> {
  const source = await open(from, 'r')
  try {
    const target = await open(to, 'wx', 0o600)
    try {
      const piece = Buffer.alloc(pieceBytes)
      let copied = 0
      for (;;) {
        const { bytesRead } = await source.read(piece, 0, pieceBytes, copied)
        if (bytesRead === 0) break
        await target.writeFile(piece.subarray(0, bytesRead))
        copied += bytesRead
        told.progress(copied)
      }
      await target.sync()
    } finally {
      await target.close()
    }
  } finally {
    await source.close()
  }
}

/** Small files, in order, the last one once all others are durable. */
async function addFiles (from: string, to: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    if (name === formatFile) flushDirectory(to)
    await copyFile(join(from, name), join(to, name))
    await flush(join(to, name))
  }
  flushDirectory(to)
}

async function flush (path: string): Promise<void> {
  const file = await open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

function checkRoom (from: string, to: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(to)
  const isSameDisk = statSync(from).dev === statSync(to).dev
  const wanted = bytes + (isSameDisk ? reserveBytes : 0)
  if (bavail * bsize >= wanted) return
  throw new StoreError('no-room', `${to}: got ${inMiB(bavail * bsize)} free on its disk, want ${inMiB(wanted)}`)
}

function inMiB (bytes: number): string { return `${Math.ceil(bytes / 1_048_576).toLocaleString('en-US')} MiB` }

function sizeOf (file: string): number { return statSync(file, { throwIfNoEntry: false })?.size ?? 0 }
