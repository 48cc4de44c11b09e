import { quiet } from './client-error.js'

/** The loop over a stream was left: what it had not done with goes to whoever listens next. */
const left = Symbol('left')

export function isLeft (error: unknown): boolean {
  return error === left
}

interface Waiting<T> {
  readonly item: T
  readonly resolve: () => void
  readonly reject: (reason: unknown) => void
}

/** Downlinks or posts for a `for await`: each is done with when the loop asks for the next one. */
export class LoopStream<T> {
  #waiting: Waiting<T>[] = []
  #current: Waiting<T> | undefined
  #wake = () => {}
  #hasEnded = false
  #error: Error | undefined

  /** The listener. Resolves once the loop is done with it. */
  readonly push = async (item: T): Promise<void> => {
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      this.#wake()
    })
  }

  /** @returns undefined at the end; throws where the client ended for another reason than `close` */
  async next (): Promise<T | undefined> {
    this.#current?.resolve()
    this.#current = undefined
    while (this.#waiting.length === 0 && !this.#hasEnded) {
      await new Promise<void>(resolve => { this.#wake = resolve })
    }
    if (this.#hasEnded && this.#error) throw this.#error
    if (this.#hasEnded) return undefined
    this.#current = this.#waiting.shift()
    return this.#current?.item
  }

  /** @param listen called when the loop begins; what it returns, when the loop is left */
  loop (listen: () => () => void): AsyncGenerator<T, void, void> {
    const loop = this.#run(listen)
    const next = loop.next.bind(loop)
    loop.next = () => quiet(next())
    return loop
  }

  async * #run (listen: () => () => void): AsyncGenerator<T, void, void> {
    const stop = listen()
    try {
      for (let next = await this.next(); next; next = await this.next()) yield next
    } finally {
      stop()
      this.leave()
    }
  }

  leave (): void {
    this.#current?.reject(left)
    for (const { reject } of this.#waiting.splice(0)) reject(left)
    this.#current = undefined
  }

  end (error: Error | undefined): void {
    this.#hasEnded = true
    this.#error = error
    this.#wake()
  }
}
