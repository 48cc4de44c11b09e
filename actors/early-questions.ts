import type { AskRequest } from './links.js'

/** Of questions that wait, all fields counted. */
const bytesMax = 1 << 20

/**
 * Questions about blocks that the partition has not received yet. Past its bound a question is not answered: who asked
 * takes the request for a new one, and the fold drops a repeat all the same.
 */
export class EarlyQuestions {
  #questions: AskRequest[] = []
  #bytes = 0

  get size (): number { return this.#questions.length }

  add (question: AskRequest): void {
    const bytes = bytesOf(question)
    if (this.#bytes + bytes > bytesMax) return
    this.#questions.push(question)
    this.#bytes += bytes
  }

  /** All of them, in order; none is kept. */
  take (): AskRequest[] {
    const questions = this.#questions
    this.#questions = []
    this.#bytes = 0
    return questions
  }
}

function bytesOf ({ userId, nodeId, messageId }: AskRequest): number {
  return 128 + userId.length + nodeId.length + messageId.length
}
