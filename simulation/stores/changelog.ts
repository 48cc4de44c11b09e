import { type Change, ChangelogFenced, type Changelog, type ChangelogWriter } from '../../ledger/changelog.js'
import { GatewayError } from '../../schemas/errors.js'
import type { Random } from '../random.js'
import type { Cancel, Turns } from '../world.js'
import type { Broker } from './broker.js'

interface StoredChange extends Change { readonly offset: bigint }

interface StoredChangelog {
  records: StoredChange[]
  next: bigint
  /** Who opened it last. */
  writer: object | undefined
}

/** The last records, which are never compacted. */
const activeMax = 20

/** The changelog of a simulated cluster, as a compacted topic: durable, and each partition has one writer. */
export class ChangelogStore {
  readonly #partitions = new Map<number, StoredChangelog>()

  of (partition: number): StoredChangelog {
    let stored = this.#partitions.get(partition)
    if (!stored) this.#partitions.set(partition, stored = { records: [], next: 0n, writer: undefined })
    return stored
  }

  /** Removes, up to somewhere in each partition, what a later record of the same key has replaced. */
  compact (random: Random): void {
    for (const stored of this.#partitions.values()) {
      const dirty = random.below(Math.max(1, stored.records.length - activeMax))
      const last = new Map(stored.records.map(({ key, offset }) => [key.toString('latin1'), offset]))
      stored.records = stored.records.filter(({ key, offset }, i) =>
        i >= dirty || last.get(key.toString('latin1')) === offset)
    }
  }
}

export interface SimulatedChangelogOptions {
  readonly broker: Broker
  readonly store: ChangelogStore
  /** Of the node. */
  readonly turns: Turns
}

/** A request without an answer is sent again after so long, and given up after that, ms. */
const retryMs = 1_000
const giveUpMs = 10_000

/** A node's view of it. A write that is given up may be stored all the same, but not behind a later one. */
export class SimulatedChangelog implements Changelog {
  readonly #options: SimulatedChangelogOptions
  #sentUntilMs = 0
  readonly #sent: Array<() => void> = []

  constructor (options: SimulatedChangelogOptions) { this.#options = options }

  async open (partition: number): Promise<ChangelogWriter> {
    const stored = this.#options.store.of(partition)
    const token = {}
    await this.#ask('opens', () => { stored.writer = token })
    let calls = 0
    let arrived = 0
    const own = (): void => {
      if (stored.writer !== token) throw new ChangelogFenced(`partition ${partition} has another writer`)
    }
    const ask = this.#ask.bind(this)
    return {
      async write (changes) {
        const call = ++calls
        const copies = changes.map(({ key, value }) => ({ key: Buffer.from(key), value: value && Buffer.from(value) }))
        await ask('writes', () => {
          if (call < arrived) return // it was given up, and something was written since
          own()
          arrived = call
          for (const change of copies) stored.records.push({ ...change, offset: stored.next++ })
          stored.next++ // the end of a transaction takes an offset
        })
      },
      next: async () => await ask('asks for the end', () => stored.next),
      async * read (from) {
        for (const { key, value } of await ask('reads', () => stored.records.filter(({ offset }) => offset >= from))) {
          yield { key: Buffer.from(key), value: value && Buffer.from(value) }
        }
      },
      last: async key => await ask('looks for a key', () => stored.records.findLast(record => record.key.equals(key))?.value),
    }
  }

  /** @param act done once, at most, however often it is asked for */
  async #ask<T> (what: string, act: () => T): Promise<T> {
    const { broker, turns } = this.#options
    const { random } = broker.options
    return await new Promise<T>((resolve, reject) => {
      let again: Cancel | undefined
      let done: (() => void) | undefined
      let isOver = false
      const end = (tell: () => void): void => {
        if (isOver) return
        isOver = true
        again?.()
        giveUp()
        tell()
      }
      const arrives = (): void => {
        done ??= outcomeOf(act, resolve, reject)
        const tell = done
        if (random.chance(broker.trouble.answerLost) || broker.isAwayFor(turns)) return
        turns.later(broker.latencyMs(), `the changelog has answered, who ${what}`, () => { end(tell) })
      }
      const attempt = (): void => {
        again = turns.later(retryMs, `${what} in the changelog again`, attempt)
        if (!broker.trouble.isAway && !random.chance(broker.trouble.requestLost)) this.#send(what, arrives)
      }
      const giveUp = turns.later(giveUpMs, `${what} no more`, () => {
        end(() => { reject(new GatewayError('ledger-unavailable', `the changelog does not answer who ${what}`)) })
      })
      attempt()
    })
  }

  /** In the order of sending; it arrives also where the node crashes meanwhile. */
  #send (what: string, run: () => void): void {
    const { broker, turns } = this.#options
    const nowMs = broker.options.nowMs()
    this.#sentUntilMs = Math.max(this.#sentUntilMs, nowMs + broker.latencyMs())
    this.#sent.push(run)
    broker.options.turns.later(this.#sentUntilMs - nowMs, `${what} in the changelog`, () => {
      broker.arrive(turns, this.#sent.shift()!)
    })
  }
}

function outcomeOf<T> (act: () => T, resolve: (value: T) => void, reject: (error: unknown) => void): () => void {
  try {
    const value = act()
    return () => { resolve(value) }
  } catch (err) {
    return () => { reject(err) }
  }
}
