import type { ClientStorage } from '../client/storage/storage.js'
import type { Random } from './random.js'
import type { Turns } from './world.js'

type Changes = ReadonlyArray<readonly [key: string, value: string | undefined]>

/** Where the SDK keeps what its numbers stand for. */
const sessionKey = 'session'

interface Session { readonly sessionId: string, readonly keys: string, readonly offeredSeq: number }

/** What opening it takes, or a write; ms. */
const waitMs = [0.5, 20] as const
/** Of the last writes, those that a disk may lose. */
const undoneMax = 12

/** A device's disk. It outlives the application on it; a crash takes what was not yet written. */
export class Disk {
  readonly kept = new Map<string, string>()
  #writing: Array<readonly [string, string | undefined]> = []
  /** What each of the last writes has changed, as it was before. */
  readonly #before: Changes[] = []
  /** Ends the application in the middle of the next write. */
  #endsIn: (() => void) | undefined

  constructor (readonly random: Random) {}

  /** For one run of the application. */
  storage (turns: Turns): ClientStorage {
    const wait = async (what: string, ms = this.random.between(...waitMs)): Promise<void> =>
      await new Promise(resolve => { turns.later(ms, what, resolve) })
    return {
      open: async () => {
        await wait('opens its storage')
        return new Map(this.kept)
      },
      write: async changes => {
        this.#writing = [...changes]
        const ms = this.random.between(...waitMs)
        const end = this.#endsIn
        if (end) turns.later(this.random.next() * ms, 'ends while it writes', () => { if (this.#endsIn === end) end() })
        await wait('has written', ms)
        this.#keep(this.#writing.splice(0))
      },
      close: async () => {},
    }
  }

  /** @param end crashes, in the middle of the next write; undefined for never */
  endInWrite (end: (() => void) | undefined): void { this.#endsIn = end }

  /** A first part of what was being written is there, or nothing of it. */
  crash (): void {
    this.#endsIn = undefined
    const writing = this.#writing.splice(0)
    this.#keep(writing.slice(0, this.random.below(writing.length + 1)))
  }

  /**
   * Some of the last writes are not there any more, though it had said that they are; but none since which the numbers
   * of uplinks stand for something else: what they stood for before would be sent again. Nor one that says that uplinks
   * were offered which stay without it: they are sent again, too (client.md, Storage).
   */
  lose (): void {
    for (let left = this.random.below(undoneMax + 1); left > 0; left--) {
      const before = this.#before.at(-1)
      if (!before || this.#beginsAnew(before) || this.#leavesUnoffered(before)) return
      this.#before.pop()
      this.#put(before)
    }
  }

  #beginsAnew (before: Changes): boolean {
    return before.some(([key, value]) => key === sessionKey && numbersOf(value) !== numbersOf(this.kept.get(key)))
  }

  #leavesUnoffered (before: Changes): boolean {
    const now = this.kept.get(sessionKey)
    const session = before.find(([key]) => key === sessionKey)?.[1]
    if (now === undefined || session === undefined) return false
    const { keys, offeredSeq } = JSON.parse(now) as Session
    const left = new Map([...this.kept, ...before])
    for (let seq = offeredSeq; seq > (JSON.parse(session) as Session).offeredSeq; seq--) {
      if (left.get(`${keys}/${seq}`) !== undefined) return true
    }
    return false
  }

  #keep (changes: Changes): void {
    if (changes.length === 0) return
    this.#before.push(changes.map(([key]) => [key, this.kept.get(key)]))
    if (this.#before.length > undoneMax) this.#before.shift()
    this.#put(changes)
  }

  #put (changes: Changes): void {
    for (const [key, value] of changes) {
      if (value === undefined) this.kept.delete(key)
      else this.kept.set(key, value)
    }
  }
}

/** Under which session, and which keys, uplinks have their numbers. */
function numbersOf (session: string | undefined): string {
  if (session === undefined) return ''
  const { sessionId, keys } = JSON.parse(session) as Session
  return `${sessionId} ${keys}`
}
