import type { AskBans, AskRequest } from './links.js'

/** Of questions that wait, all fields counted. */
const bytesMax = 1 << 20

/** What a node asks for itself. */
export type NodeQuestion = AskRequest | AskBans

/**
 * Questions about blocks that the partition has not received yet. Past its bound a question is not answered: who asked
 * takes a request for a new one, and the fold drops a repeat all the same; or says that bans are not known just now.
 */
export class EarlyQuestions {
  #questions: NodeQuestion[] = []
  #bytes = 0

  get size (): number { return this.#questions.length }

  add (question: NodeQuestion): void {
    const bytes = bytesOf(question)
    if (this.#bytes + bytes > bytesMax) return
    this.#questions.push(question)
    this.#bytes += bytes
  }

  /** All of them, in order; none is kept. */
  take (): NodeQuestion[] {
    const questions = this.#questions
    this.#questions = []
    this.#bytes = 0
    return questions
  }
}

function bytesOf (question: NodeQuestion): number {
  const { userId, nodeId } = question
  return 128 + userId.length + nodeId.length + (question.type === 'askRequest' ? question.messageId.length : 0)
}
