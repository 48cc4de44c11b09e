import type { SpanContext } from './context.js'

interface Chosen { readonly context: SpanContext, readonly untilMs: number }

/** A message is traced for so long after its request; a device that comes later gets it without a span. */
const keptMs = 10 * 60_000
/** Of this process; past it the oldest is forgotten. Each takes some 500 bytes. */
const chosenMax = 10_000

/**
 * Contexts of messages that somebody else's trace has led to, by the message's id: those that are on their way. They
 * are in memory alone, for no message depends on its trace: a node that starts anew goes on without them.
 */
export class ChosenMessages {
  readonly #byId = new Map<string, Chosen>()

  constructor (readonly now: () => number = Date.now) {}

  get size (): number { return this.#byId.size }

  add (messageId: string, context: SpanContext): void {
    const nowMs = this.now()
    this.#byId.delete(messageId) // the last one that comes is the youngest
    this.#byId.set(messageId, { context, untilMs: nowMs + keptMs })
    for (const [oldest, { untilMs }] of this.#byId) {
      if (untilMs > nowMs && this.#byId.size <= chosenMax) return
      this.#byId.delete(oldest)
    }
  }

  get (messageId: string): SpanContext | undefined {
    const chosen = this.#byId.get(messageId)
    return chosen && chosen.untilMs > this.now() ? chosen.context : undefined
  }
}
