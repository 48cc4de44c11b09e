import { pageBytes } from '../../ledger/embedded/batch.js'
import { blockHeaderBytes } from '../../ledger/embedded/block.js'
import type { DataFile } from '../../ledger/embedded/data-file.js'
import { StoreError } from '../../ledger/embedded/directory.js'
import { kind } from '../../ledger/embedded/keys.js'
import type { Medium } from '../../ledger/embedded/medium.js'
import type { Random } from '../random.js'
import type { Turns } from '../world.js'
import { SimulatedEnvironment, type Write } from './environment.js'
import { PageCounts, type Touched } from './pages.js'
import { Rows } from './rows.js'

/** What can go wrong with a disk; the world changes it as it goes on. */
export interface DiskTrouble {
  /** Of one commit, ms. */
  commitMs: readonly [min: number, max: number]
  /** Probability that a commit fails, and leaves nothing. */
  failed: number
  /** It has no room for a longer file. */
  isFull: boolean
}

export const noDiskTrouble: DiskTrouble = { commitMs: [0.3, 3], failed: 0, isFull: false }

interface UnderWay { readonly medium: SimulatedMedium, readonly writes: readonly Write[] }

/** From a commit on the disk until the process knows of it, ms. */
const answerMs = [0.02, 0.4] as const
const extendMs = [0.1, 2] as const

/**
 * The disk of a node, with the one LMDB environment on it: what is committed is there after any end of the process or
 * of the machine. A commit is there wholly or not at all, and from one moment on; who asked for it learns of that a
 * little later, or never.
 */
export class SimulatedDisk {
  trouble: DiskTrouble = noDiskTrouble
  /** What the store promised never to do. */
  readonly complaints: string[] = []
  rows = new Rows()
  pages = new PageCounts()
  fileBytes = 0
  commits = 0
  #open: SimulatedMedium | undefined
  #underWay: UnderWay | undefined

  constructor (readonly turns: Turns, readonly random: Random) {}

  /** @throws StoreError `in-use` while another process has it open */
  open (turns: Turns): SimulatedMedium {
    if (this.#open) throw new StoreError('in-use', 'a simulated disk is open already')
    this.#open = new SimulatedMedium(this, turns)
    return this.#open
  }

  release (medium: SimulatedMedium): void { if (this.#open === medium) this.#open = undefined }

  /**
   * The process that had it open is gone, and what it had begun to commit is not there.
   *
   * @param silently the power has failed. Then a disk that says too early what it has may keep the commit under way
   *   without the end of its last block: nobody was told of that commit
   */
  crashed (silently: boolean): void {
    const underWay = this.#underWay
    this.#open = this.#underWay = undefined
    if (silently && underWay && this.random.chance(0.5)) this.#keepTorn(underWay.writes)
  }

  /** As it is now, for somebody else: what is being committed is not in it. */
  fork (random: Random): SimulatedDisk {
    const fork = new SimulatedDisk(this.turns, random)
    fork.rows = this.rows.copy()
    fork.pages = this.pages.copy()
    fork.fileBytes = this.fileBytes
    return fork
  }

  async commit (medium: SimulatedMedium, writes: readonly Write[]): Promise<void> {
    const { random, trouble: { commitMs, failed } } = this
    this.#underWay = { medium, writes }
    await new Promise<void>((resolve, reject) => {
      this.turns.later(random.between(...commitMs), `a commit of ${writes.length} rows`, () => {
        if (this.#open !== medium) return
        this.#underWay = undefined
        const failure = random.chance(failed) ? new Error('Input/output error') : this.apply(writes)
        medium.turns.later(random.between(...answerMs), 'its commit is answered', () => {
          if (failure) reject(failure)
          else resolve()
        })
      })
    })
  }

  /** @returns why it could not be; then nothing has changed */
  apply (writes: readonly Write[]): Error | undefined {
    const { rows, pages } = this
    const touched: Touched[] = writes.map(({ key, value }) => ({
      place: rows.placeOf(key), bytes: value?.length ?? 0, bytesBefore: rows.get(key)?.length ?? 0,
    }))
    const need = pages.neededFor(touched, this.random)
    const bytes = pages.usedBytes() + need.grows * pageBytes
    if (bytes > this.fileBytes && this.trouble.isFull) {
      // LMDB may end the process then, or never answer.
      this.complaints.push(`a commit of ${writes.length} rows needed ${bytes - this.fileBytes} bytes of a full disk`)
      return new Error('No space left on device')
    }
    this.fileBytes = Math.max(this.fileBytes, bytes)
    pages.commit(need)
    for (const { key, value } of writes) {
      if (value) rows.put(key, Buffer.from(value))
      else rows.remove(key)
    }
    this.commits++
    return undefined
  }

  #keepTorn (writes: readonly Write[]): void {
    const last = writes.findLastIndex(({ key, value }) => value && key.charCodeAt(0) === kind.block)
    if (last === -1) return
    this.apply(writes.map((write, i) => {
      if (i !== last) return write
      const torn = Buffer.alloc(write.value!.length)
      Buffer.from(write.value!).copy(torn, 0, 0, this.random.below(torn.length - blockHeaderBytes) + blockHeaderBytes)
      return { key: write.key, value: torn }
    }))
  }
}

/** A simulated disk as one process has it open. */
export class SimulatedMedium implements Medium<SimulatedEnvironment> {
  readonly env: SimulatedEnvironment
  readonly file: DataFile

  constructor (readonly disk: SimulatedDisk, readonly turns: Turns) {
    this.env = new SimulatedEnvironment(this)
    this.file = {
      bytes: async () => disk.fileBytes,
      extend: async bytes => { await this.#extend(bytes) },
      async close () {},
    }
  }

  get pages (): PageCounts { return this.disk.pages }

  textOf (err: unknown): string { return this.disk.trouble.isFull ? 'the disk is full' : (err as Error).message }

  async close (): Promise<void> {
    await this.env.close()
    this.disk.release(this)
  }

  async #extend (bytes: number): Promise<void> {
    const { disk, turns } = this
    await new Promise<void>(resolve => {
      turns.later(disk.random.between(...extendMs), 'the file is longer', resolve)
    })
    if (disk.trouble.isFull) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
    disk.fileBytes += bytes
  }
}
