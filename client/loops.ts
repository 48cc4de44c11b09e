import { quiet } from './client-error.js'

/** The loop was left: what it had not done with goes to whoever listens next. */
const left = Symbol('left')

export function isLeft (error: unknown): boolean {
  return error === left
}

interface Waiting<T> {
  readonly item: T
  readonly resolve: () => void
  readonly reject: (reason: unknown) => void
}

/** A listener that resolves once it is done with the item, and rejects where `isLeft`. */
type LoopListener<T> = (item: T) => Promise<void>

/** The `for await` loops over the downlinks of a client, or over the posts of a room. They end with the client. */
export class Loops<T> {
  readonly #sleepers = new Set<{ wake: () => void }>()
  #end: { readonly error: Error | undefined } | undefined

  /**
   * A loop that is done with each item when it asks for the next one.
   *
   * @param listen called when it begins; what it returns, when it is left
   * @returns throws where the client ended for another reason than `close`
   */
  loop (listen: (listener: LoopListener<T>) => () => void): AsyncGenerator<T, void, void> {
    const loop = this.#run(listen)
    const next = loop.next.bind(loop)
    loop.next = () => quiet(next())
    return loop
  }

  /** @param error why, unless by `close` */
  end (error: Error | undefined): void {
    this.#end = { error }
    for (const sleeper of this.#sleepers) sleeper.wake()
  }

  async * #run (listen: (listener: LoopListener<T>) => () => void): AsyncGenerator<T, void, void> {
    const waiting: Waiting<T>[] = []
    const sleeper = { wake () {} }
    this.#sleepers.add(sleeper)
    const stop = listen(item => new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject })
      sleeper.wake()
    }))
    let current: Waiting<T> | undefined
    try {
      while (!this.#end) {
        current = waiting.shift()
        if (current) {
          yield current.item
          current.resolve()
        } else {
          await new Promise<void>(resolve => { sleeper.wake = resolve })
        }
      }
      if (this.#end.error) throw this.#end.error
    } finally {
      stop()
      this.#sleepers.delete(sleeper)
      current?.reject(left)
      for (const { reject } of waiting) reject(left)
    }
  }
}
