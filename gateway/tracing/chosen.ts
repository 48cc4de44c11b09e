import type { SpanContext } from './context.js'

/** Stands for the users of a post: all members of the room. No key of a user begins with a control character. */
export function membersOf (roomKey: string): string { return `\u001froom ${roomKey}` }

/** Stands for the users of a broadcast: whoever of the app is connected. */
export function everybodyOf (app: string): string { return `\u001fapp ${app}` }

interface Chosen { readonly context: SpanContext, readonly untilMs: number }

/** A message is traced for so long after its request; a device that comes later gets it without a span. */
const keptMs = 10 * 60_000
/** Of this process, one for each user of a message; past it the oldest is forgotten. Each takes some 200 bytes. */
const chosenMax = 20_000

/**
 * Contexts of messages that somebody else's trace has led to, by user and message id: those that are on their way.
 * Users may have messages of the same id that have nothing to do with each other. They are in memory alone, for no
 * message depends on its trace: a node that starts anew goes on without them.
 */
export class ChosenMessages {
  readonly #byPlace = new Map<string, Chosen>()

  constructor (readonly now: () => number = Date.now) {}

  get size (): number { return this.#byPlace.size }

  add (userKeys: readonly string[], messageId: string, context: SpanContext): void {
    const nowMs = this.now()
    const chosen = { context, untilMs: nowMs + keptMs }
    for (const userKey of userKeys) {
      const place = placeOf(userKey, messageId)
      this.#byPlace.delete(place) // the last one that comes is the youngest
      this.#byPlace.set(place, chosen)
    }
    for (const [oldest, { untilMs }] of this.#byPlace) {
      if (untilMs > nowMs && this.#byPlace.size <= chosenMax) return
      this.#byPlace.delete(oldest)
    }
  }

  get (userKey: string, messageId: string): SpanContext | undefined {
    const chosen = this.#byPlace.get(placeOf(userKey, messageId))
    return chosen && chosen.untilMs > this.now() ? chosen.context : undefined
  }
}

/** No key of a user has a line end in it. */
function placeOf (userKey: string, messageId: string): string { return `${messageId}\n${userKey}` }
