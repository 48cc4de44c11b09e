import { quiet, reasonOf } from '../client-error.js'
import { within } from '../clock.js'
import type { Clock } from '../clock.js'
import { newSessionId } from '../session-id.js'
import type { ClientStorage } from './storage.js'

export interface KeeperOptions {
  readonly clock: Clock
  /** Told once of each trouble, and that the client waits for a storage that is in use. */
  readonly failed: (error: unknown) => void
}

/** A storage that does not answer for so long has failed. */
const answerMsMax = 10_000

/** How often it is asked for one that is in use. */
const busyMs = 1_000

/*
  Kept beside what others keep:
    owner => who opened it last, new each time: after a sleep it shows whether somebody else had it
*/
const ownerKey = 'owner'

/**
 * Writes to a storage, if there is one: one write at a time, and all that changed meanwhile is the next one. Nothing
 * that a storage does ends a client or holds it up for long.
 */
export class Keeper {
  #storage: ClientStorage | undefined
  readonly #options: KeeperOptions
  readonly #owner = newSessionId()
  /** All that is to be kept: a storage that was emptied from outside gets it again. */
  #kept = new Map<string, string>()
  #changes = new Map<string, string | undefined>()
  #waiting: Array<() => void> = []
  #writing: Promise<void> | undefined
  #lost = () => {}
  /** No writes now: it is not open, a write does not end, or the page sleeps. */
  #isOpen = false
  #isStuck = false
  #isAsleep = false
  /** The page slept: somebody else may have had it. */
  #mustReopen = false
  #isClosing = false
  #endWait = () => {}
  /** What was told last, until a write succeeds. */
  #trouble = ''

  constructor (storage: ClientStorage | undefined, options: KeeperOptions) {
    this.#storage = storage
    this.#options = options
  }

  get isWriting (): boolean { return this.#writing !== undefined }

  /**
   * Waits for as long as another client has the storage: two of one device would drive each other out. Without one that
   * can be used it gives nothing, and keeps nothing: what is put into it later could be older than what it holds.
   */
  async open (lost: () => void): Promise<Map<string, string>> {
    this.#lost = () => {
      // It is another one's now, to close as well: both may have been given the same object.
      this.#storage = undefined
      lost()
    }
    while (this.#storage !== undefined) {
      try {
        this.#kept = await this.#open(false)
        this.#isOpen = true
        this.put(ownerKey, () => this.#owner)
        return new Map(this.#kept)
      } catch (err) {
        const isBusy = codeOf(err) === 'busy'
        this.#failed(err)
        if (!isBusy || this.#isClosing) this.#storage = undefined
        else await this.#wait(busyMs)
      }
    }
    return new Map()
  }

  /** What it holds is of no use: it stays as it is, and nothing is kept. */
  async giveUp (error: unknown): Promise<void> {
    const storage = this.#storage
    this.#storage = undefined
    this.#failed(error)
    await this.#writing
    await storage?.close().catch(() => {})
  }

  /** @param value made only where it is kept */
  put (key: string, value: () => string): void {
    if (this.#storage !== undefined) this.#change(key, value())
  }

  remove (key: string): void {
    if (this.#storage !== undefined) this.#change(key, undefined)
  }

  /** Runs once all that was put is kept; at once without a storage. A failed write holds nobody up: see `failed`. */
  whenKept (run: () => void): void {
    if (this.#writing === undefined) run()
    else this.#waiting.push(run)
  }

  /** Lets go of the storage while the page sleeps, for a page that has one open may not sleep. */
  sleep (): void {
    if (this.#storage === undefined || !this.#isOpen) return
    this.#isAsleep = true
    quiet(this.#storage.close())
  }

  /** Takes it up again, unless somebody else had it meanwhile: see `lost`. */
  async wake (): Promise<void> {
    if (!this.#isAsleep) return
    this.#isAsleep = false
    this.#mustReopen = true
    this.#begin()
    await this.#writing
  }

  /** Where another client has the storage it is given up. */
  stopWaiting (): void {
    this.#isClosing = true
    this.#endWait()
  }

  async close (): Promise<void> {
    this.#begin() // what failed may be kept by now
    await this.#writing
    if (this.#isOpen) await this.#storage?.close().catch(err => this.#failed(err))
  }

  #failed (error: unknown): void {
    const trouble = reasonOf(error)
    if (trouble === this.#trouble) return
    this.#trouble = trouble
    this.#options.failed(error)
  }

  async #wait (ms: number): Promise<void> {
    await new Promise<void>(resolve => {
      const cancel = this.#options.clock.after(ms, resolve)
      this.#endWait = () => {
        cancel()
        resolve()
      }
    })
  }

  #change (key: string, value: string | undefined): void {
    this.#kept.delete(key) // to the end of the order
    if (value !== undefined) this.#kept.set(key, value)
    this.#changes.delete(key)
    this.#changes.set(key, value)
    this.#begin()
  }

  #begin (): void {
    this.#writing ??= this.#write()
  }

  get #mayWrite (): boolean { return this.#storage !== undefined && !this.#isStuck && !this.#isAsleep }

  async #write (): Promise<void> {
    await null // what one turn puts is one write
    while ((this.#changes.size > 0 || this.#mustReopen) && this.#mayWrite) {
      const [changes, waiting] = [this.#changes, this.#waiting]
      this.#changes = new Map()
      this.#waiting = []
      try {
        if (this.#mustReopen) await this.#reopen()
        await this.#store(changes)
      } catch (err) {
        const later = this.#changes
        for (const key of later.keys()) changes.delete(key) // a key has the place of its last change
        this.#changes = new Map([...changes, ...later])
        if (!this.#isAsleep) this.#failed(err)
        if (later.size === 0) {
          this.#end(waiting)
          return
        }
      }
      this.#run(waiting)
    }
    this.#end([])
  }

  async #store (changes: ReadonlyMap<string, string | undefined>): Promise<void> {
    try {
      await this.#inTime(changes)
    } catch (err) {
      if (codeOf(err) !== 'closed' || this.#isAsleep) throw err
      this.#failed(err)
      await this.#reopen()
    }
  }

  async #open (isAgain: boolean): Promise<Map<string, string>> {
    const storage = this.#storage!
    const opening = (async () => await storage.open(this.#lost, isAgain))()
    try {
      const kept = await within(answerMsMax, opening, this.#options.clock)
      if (typeof kept?.[Symbol.iterator] !== 'function') throw new TypeError('the storage gave no map')
      return new Map(kept)
    } catch (err) {
      quiet(opening.then(async () => await storage.close())) // it may open later, and hold what it should not
      throw err
    }
  }

  async #reopen (): Promise<void> {
    this.#mustReopen = false
    let found: Map<string, string>
    try {
      found = await this.#open(true)
    } catch (err) {
      if (codeOf(err) !== 'busy') throw err
      return this.#driveOut()
    }
    const owner = found.get(ownerKey)
    if (owner !== undefined && owner !== this.#owner) return this.#driveOut()
    const all = new Map<string, string | undefined>(this.#kept)
    for (const key of found.keys()) if (!all.has(key)) all.set(key, undefined)
    await this.#inTime(all)
  }

  #driveOut (): void {
    quiet(this.#storage!.close())
    this.#lost()
  }

  async #inTime (changes: ReadonlyMap<string, string | undefined>): Promise<void> {
    const storage = this.#storage
    if (storage === undefined || changes.size === 0) return
    let hasEnded = false
    const writing = (async () => await storage.write(changes))().finally(() => { hasEnded = true })
    try {
      await within(answerMsMax, writing, this.#options.clock)
      this.#trouble = ''
    } catch (err) {
      if (!hasEnded) {
        // Another one could overtake it.
        this.#isStuck = true
        quiet(writing.catch(() => {}).then(() => {
          this.#isStuck = false
          this.#begin()
        }))
      }
      throw err
    }
  }

  #end (waiting: Array<() => void>): void {
    this.#writing = undefined
    this.#run([...waiting, ...this.#waiting.splice(0)])
  }

  #run (waiting: Array<() => void>): void {
    for (const run of waiting) run()
  }
}

function codeOf (err: unknown): unknown {
  return (err as { code?: unknown } | undefined)?.code
}
