import type { Environment, KeyRange } from '../../ledger/embedded/environment.js'
import type { SimulatedMedium } from './disk.js'

/** Of a commit: the value is undefined where the row goes, and its bytes count as they are once it is on the disk. */
export interface Write { readonly key: string, readonly value: Uint8Array | undefined }

/** Enough for a block, grown where a value is longer. */
const viewBytes = 1 << 16

/**
 * LMDB as `lmdb` has it, on a simulated disk. Like that it copies keys at once and values when it writes them, and its
 * reads are of what is committed, be its commit answered or not.
 */
export class SimulatedEnvironment implements Environment {
  lastSize = 0
  #view = Buffer.alloc(viewBytes)
  #writes: Write[] | undefined
  #isClosed = false
  #committing: Promise<void> = Promise.resolve()

  constructor (readonly medium: SimulatedMedium) {}

  getBinary (key: Buffer): Buffer | undefined {
    const value = this.#rows.get(key.toString('latin1'))
    return value && Buffer.from(value)
  }

  getBinaryFast (key: Buffer): Buffer | undefined {
    const value = this.#rows.get(key.toString('latin1'))
    if (!value) return undefined
    if (value.length > this.#view.length) this.#view = Buffer.alloc(2 * value.length)
    // Whoever still reads what was here before finds something else.
    this.#view.fill(0xdd, 0, this.lastSize)
    value.copy(this.#view)
    this.lastSize = value.length
    return this.#view
  }

  getKeys (range: KeyRange): Buffer[] { return this.#rows.range(range).map(({ key }) => Buffer.from(key, 'latin1')) }

  getRange (range: KeyRange): Array<{ key: Buffer, value: Buffer }> {
    return this.#rows.range(range).map(({ key, value }) => ({ key: Buffer.from(key, 'latin1'), value: Buffer.from(value) }))
  }

  put (key: Buffer, value: Uint8Array): void { this.#write(key, value) }

  remove (key: Buffer): void { this.#write(key, undefined) }

  batch (work: () => void): Promise<void> {
    const writes = this.#collect(work)
    this.#committing = this.medium.disk.commit(this.medium, writes)
    return this.#committing
  }

  transactionSync (work: () => void): void {
    const failure = this.medium.disk.apply(this.#collect(work))
    if (failure) throw failure
  }

  async close (): Promise<void> {
    await this.#committing.catch(() => {}) // whoever asked for it is told
    this.#isClosed = true
  }

  get #rows () {
    if (this.#isClosed) throw new Error('the environment is closed')
    return this.medium.disk.rows
  }

  #write (key: Buffer, value: Uint8Array | undefined): void {
    if (!this.#writes) throw new Error('a row is written outside of a transaction')
    this.#writes.push({ key: key.toString('latin1'), value })
  }

  #collect (work: () => void): Write[] {
    if (this.#isClosed) throw new Error('the environment is closed')
    const writes = this.#writes = []
    try {
      work()
    } finally {
      this.#writes = undefined
    }
    return writes
  }
}
