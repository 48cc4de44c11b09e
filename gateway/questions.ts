import { randomInt } from 'node:crypto'
import { GatewayError } from '../schemas/errors.js'

/** A question's answer may not come: whoever would give it may be moving, and links lose messages. */
export class Questions<T> {
  readonly #asked = new Map<number, (answer: T) => void>()
  /** Not from 1: an answer to the process that had our node id before us must not meet a question of ours. */
  #lastId = randomInt(1 << 28)
  readonly #ofWhat: string
  readonly #answerMs: number

  /**
   * @param ofWhat what they are about, in words: `user`
   * @param answerMs how long an answer is waited for; by default below the deadline of a look-up over HTTP
   */
  constructor (ofWhat: string, answerMs = 1_500) {
    this.#ofWhat = ofWhat
    this.#answerMs = answerMs
  }

  /**
   * @param send hands on the question with this id
   * @throws GatewayError `not-ready` where the answer does not come in time; what `send` throws
   */
  async ask (send: (askId: number) => Promise<void> | void): Promise<T> {
    const askId = ++this.#lastId
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        reject(new GatewayError('not-ready', `the owner of this ${this.#ofWhat} does not answer: it may be moving (see /readyz)`))
      }, this.#answerMs)
    })
    const answer = new Promise<T>(resolve => { this.#asked.set(askId, resolve) })
    const asked = async () => {
      await send(askId)
      return await answer
    }
    try {
      return await Promise.race([asked(), late])
    } finally {
      clearTimeout(timer)
      this.#asked.delete(askId)
    }
  }

  /** Gives an answer to who asked, if that still waits. */
  answered (askId: number, answer: T): void { this.#asked.get(askId)?.(answer) }
}
