import type { Random } from '../random.js'
import type { Turns } from '../world.js'

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

/** A node's connection to a store: requests arrive in their order, and each is answered once or times out. */
export class Channel {
  #sentUntilMs = 0
  /** On their way, oldest first: whatever arrives is the oldest. */
  readonly #sent: Array<() => void> = []

  constructor (readonly store: SharedStore, readonly node: Turns, readonly name: string) {}

  /** @throws Error where the store does not answer; it may have done what it was asked to */
  async ask<T> (what: string, act: () => T): Promise<T> {
    const { store, node } = this
    return await new Promise<T>((resolve, reject) => {
      const cancel = node.later(answerMs, `${what}: no answer`, () => {
        reject(new Error(`no answer within ${answerMs} ms`))
      })
      this.#send(what, () => {
        const { trouble, random } = store
        if (trouble.isAway || store.cutOff.has(node)) return
        const reply = (settle: () => void): void => {
          node.later(this.#latencyMs(), `${what}: an answer`, () => {
            cancel()
            settle()
          })
        }
        if (random.chance(trouble.refused)) return reply(() => { reject(new Error('the store is not ready')) })
        let answer: T
        try {
          answer = act()
        } catch (err) {
          return reply(() => { reject(err) })
        }
        if (!random.chance(trouble.answerLost)) reply(() => { resolve(answer) })
      })
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
