import type { Random } from '../random.js'
import type { Cancel, Turns } from '../world.js'

/** What is wrong with a store that is reached over a connection; the world changes it as it goes on. */
export interface StoreTrouble {
  /** One way, ms. */
  latencyMs: readonly [min: number, max: number]
  /** Probability that a request fails without having done anything, and that it did all and the answer is lost. */
  refused: number
  answerLost: number
  isAway: boolean
}

export const noStoreTrouble: StoreTrouble = { latencyMs: [0.2, 1.5], refused: 0, answerLost: 0, isAway: false }

/** A store that several nodes share, and the way there. */
export interface SharedStore {
  readonly turns: Turns
  readonly random: Random
  readonly nowMs: () => number
  trouble: StoreTrouble
  /** Nodes that do not reach it. */
  readonly cutOff: Set<Turns>
}

/** How long a command waits for its answer. */
const answerMs = 2_000

interface Asked {
  readonly act: () => unknown
  readonly resolve: (answer: any) => void
  readonly reject: (error: unknown) => void
}

/** Requests of one turn, which go together. */
interface Batch {
  readonly atMs: number
  readonly asked: Asked[]
}

/** A node's connection to a store: requests arrive in their order, and each is answered once or times out. */
export class Channel {
  #sentUntilMs = 0
  /** What more is asked in the turn that is under way goes with it. */
  #open: Batch | undefined
  /** On their way, oldest first: whatever arrives is the oldest. */
  readonly #sent: Array<() => void> = []

  constructor (readonly store: SharedStore, readonly node: Turns, readonly name: string) {}

  /** @throws Error where the store does not answer; it may have done what it was asked to */
  async ask<T> (what: string, act: () => T): Promise<T> {
    return await new Promise<T>((resolve, reject) => {
      const nowMs = this.store.nowMs()
      if (this.#open?.atMs !== nowMs) this.#open = this.#begin(what, nowMs)
      this.#open.asked.push({ act, resolve, reject })
    })
  }

  #begin (what: string, atMs: number): Batch {
    const batch: Batch = { atMs, asked: [] }
    const cancel = this.node.later(answerMs, `${what}: no answer`, () => {
      for (const { reject } of batch.asked) reject(new Error(`no answer within ${answerMs} ms`))
    })
    this.#send(what, () => {
      if (this.#open === batch) this.#open = undefined
      this.#arrived(what, batch, cancel)
    })
    return batch
  }

  #arrived (what: string, { asked }: Batch, cancel: Cancel): void {
    const { store: { trouble, random, cutOff }, node } = this
    if (trouble.isAway || cutOff.has(node)) return
    const replies: Array<() => void> = []
    for (const { act, resolve, reject } of asked) {
      if (random.chance(trouble.refused)) {
        replies.push(() => { reject(new Error('the store is not ready')) })
        continue
      }
      try {
        const answer = act()
        if (!random.chance(trouble.answerLost)) replies.push(() => { resolve(answer) })
      } catch (err) {
        replies.push(() => { reject(err) })
      }
    }
    if (replies.length === 0) return
    node.later(this.#latencyMs(), `${what}: an answer`, () => {
      if (replies.length === asked.length) cancel()
      for (const reply of replies) reply()
    })
  }

  /** It arrives also where the node crashes meanwhile. */
  #send (what: string, run: () => void): void {
    const nowMs = this.store.nowMs()
    this.#sentUntilMs = Math.max(this.#sentUntilMs, nowMs + this.#latencyMs())
    this.#sent.push(run)
    this.store.turns.later(this.#sentUntilMs - nowMs, `${this.name}: ${what}`, () => { this.#sent.shift()!() })
  }

  #latencyMs (): number {
    const { trouble: { latencyMs: [min, max] }, random } = this.store
    return random.between(min, max)
  }
}
