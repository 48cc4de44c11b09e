import { createHash, randomUUID } from 'node:crypto'
import { readFile, readlink, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'

/*
  Lock => JSON of { pid, startedAt, bootId, pidNamespace, host, id }: the process that has the file beside it. What a
  platform can't tell is left out. The one who has the lock touches it every `beatMs`.
  A lock is replaced in one step: whoever means to writes its own text into `<lock>.<hash of the old text>`, which only
  one can create, and renames that over the lock. So of two that find the same dead lock one gets it.
*/

/** How often its owner touches a lock; how long one that nobody touched still counts where the owner can't be seen. */
const beatMs = 2_000
const silentMsMax = 10_000

/** Those that this process has: its own pid in a lock is else taken for that of an earlier process. */
const ownLocks = new Set<string>()

interface Owner {
  readonly pid: number
  /** Clock ticks since the machine started: a later process with the same pid has another one. */
  readonly startedAt?: string | undefined
  /** New at each start of the machine. */
  readonly bootId?: string | undefined
  /** Containers number their processes each for itself. */
  readonly pidNamespace?: string | undefined
  readonly host?: string
  readonly id?: string
}

/** The lock of one file. It is taken at once or not at all; whoever wants it asks again. */
export class FileLock {
  readonly #path: string
  #text = ''
  #beat: NodeJS.Timeout | undefined
  /** A lock whose owner can't be seen, and since when nobody touched it. */
  #watched = { key: '', sinceMs: 0 }

  constructor (path: string) {
    this.#path = path
  }

  /**
   * @param lost called when another process takes it, as it may from one that stood still for long
   * @throws Error `busy` while another process has it, or may have it
   */
  async take (lost: () => void): Promise<void> {
    if (ownLocks.has(this.#path)) throw busy(`${this.#path}: another client of this process has it`)
    ownLocks.add(this.#path)
    try {
      const us = await ourselves()
      this.#text = `${JSON.stringify(us)}\n`
      while (!await created(this.#path, this.#text)) {
        const text = await textOf(this.#path)
        if (text === undefined) continue // it was let go meanwhile
        await this.#checkDead(text, us)
        await this.#replace(text, us)
        break
      }
    } catch (err) {
      ownLocks.delete(this.#path)
      throw err
    }
    this.#beat = setInterval(() => { this.#touch(lost) }, beatMs).unref()
  }

  async release (): Promise<void> {
    if (this.#beat === undefined) return
    clearInterval(this.#beat)
    this.#beat = undefined
    try {
      if (await textOf(this.#path) === this.#text) await rm(this.#path, { force: true })
    } finally {
      ownLocks.delete(this.#path)
    }
  }

  async #touch (lost: () => void): Promise<void> {
    try {
      const text = await textOf(this.#path)
      if (this.#beat === undefined || text === undefined) return
      if (text === this.#text) {
        const now = new Date()
        return await utimes(this.#path, now, now)
      }
      clearInterval(this.#beat)
      lost()
    } catch {
      // The disk is in trouble, which the next write will say.
    }
  }

  /** @throws Error `busy` unless the owner that `text` names is gone for certain, or silent for long */
  async #checkDead (text: string, us: Owner): Promise<void> {
    const owner = parsed(text)
    const life = owner === undefined ? 'unseen' : await lifeOf(owner, us)
    if (life === 'gone') return
    const whose = `${this.#path}: process ${owner?.pid ?? '?'}`
    if (life === 'here') throw busy(`${whose} has it`)
    const { mtimeMs } = await stat(this.#path).catch(() => ({ mtimeMs: 0 }))
    const key = `${mtimeMs} ${text}`
    const nowMs = performance.now()
    if (this.#watched.key !== key) this.#watched = { key, sinceMs: nowMs }
    if (nowMs - this.#watched.sinceMs >= silentMsMax) return
    throw busy(`${whose} may have it, which shows within ${silentMsMax / 1000} s`)
  }

  async #replace (text: string, us: Owner): Promise<void> {
    const claim = `${this.#path}.${createHash('sha256').update(text).digest('hex').slice(0, 16)}`
    if (!await created(claim, this.#text)) {
      const claimer = parsed(await textOf(claim) ?? '')
      if (claimer !== undefined && await lifeOf(claimer, us) === 'gone') await rm(claim, { force: true })
      throw busy(`${this.#path}: process ${claimer?.pid ?? '?'} is about to take it`)
    }
    if (await textOf(this.#path) !== text) {
      await rm(claim, { force: true })
      throw busy(`${this.#path}: another process was faster`)
    }
    await rename(claim, this.#path)
  }
}

/** Whether the process of a lock lives; `unseen` where that can't be known. */
async function lifeOf (owner: Owner, us: Owner): Promise<'here' | 'gone' | 'unseen'> {
  const isSameBoot = owner.bootId === us.bootId
  if (owner.host !== undefined && owner.host !== us.host && !(isSameBoot && us.bootId)) return 'unseen'
  if (owner.bootId !== undefined && !isSameBoot) return 'gone'
  if (owner.pidNamespace !== undefined && owner.pidNamespace !== us.pidNamespace) return 'unseen'
  if (!isAlive(owner.pid)) return 'gone'
  const startedAt = await startOf(owner.pid)
  if (owner.startedAt !== undefined && startedAt !== undefined) return owner.startedAt === startedAt ? 'here' : 'gone'
  return owner.id === undefined && owner.pid === process.pid ? 'gone' : 'unseen'
}

async function ourselves (): Promise<Owner> {
  const [startedAt, bootId, pidNamespace] = await Promise.all([
    startOf(process.pid),
    readFile('/proc/sys/kernel/random/boot_id', 'utf8').then(text => text.trim(), () => undefined),
    readlink('/proc/self/ns/pid').catch(() => undefined),
  ])
  return { pid: process.pid, startedAt, bootId, pidNamespace, host: hostname(), id: randomUUID() }
}

/** `starttime` of /proc/PID/stat, whose second field is a name in brackets that may hold anything. */
async function startOf (pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19]
}

function isAlive (pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (err) {
    return (err as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** @returns undefined for a text that names no process: one that is still being written, or damaged */
function parsed (text: string): Owner | undefined {
  try {
    const value = JSON.parse(text)
    const owner = typeof value === 'number' ? { pid: value } : value
    return Number.isInteger(owner?.pid) && owner.pid > 0 ? owner : undefined
  } catch {
    return undefined
  }
}

/** @returns false where it exists already */
async function created (path: string, text: string): Promise<boolean> {
  try {
    await writeFile(path, text, { flag: 'wx', mode: 0o600 })
    return true
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'EEXIST') return false
    if ((err as NodeJS.ErrnoException).code === 'ENOSPC') await rm(path, { force: true }) // there may be one without a text
    throw err
  }
}

async function textOf (path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw err
  }
}

function busy (message: string): Error {
  return Object.assign(new Error(message), { code: 'busy' })
}
