import type { AnyQuestion } from './kind.js'

/** Of questions that wait, all fields counted. */
const bytesMax = 1 << 20
const fixedBytes = 128

/**
 * Questions about blocks that the partition has not received yet. Past its bound a question is not answered: who asked
 * takes a request for a new one, and the fold drops a repeat all the same; or says that it is not known just now.
 */
export class EarlyQuestions<Q extends AnyQuestion> {
  #questions: Q[] = []
  #bytes = 0

  get size (): number { return this.#questions.length }

  add (question: Q): void {
    const bytes = bytesOf(question)
    if (this.#bytes + bytes > bytesMax) return
    this.#questions.push(question)
    this.#bytes += bytes
  }

  /** All of them, in order; none is kept. */
  take (): Q[] {
    const questions = this.#questions
    this.#questions = []
    this.#bytes = 0
    return questions
  }
}

function bytesOf (question: AnyQuestion): number {
  let bytes = fixedBytes
  for (const field of Object.values(question)) if (typeof field === 'string') bytes += field.length
  return bytes
}
